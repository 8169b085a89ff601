"""From a spec to a model: a name of the table, 'timm:NAME', 'file.py:factory' or 'classwise:GROUPS:SPEC'. Weights are
random.

They are drawn from torch's global generator, as in any nn.Module: call torch.manual_seed before for the same ones.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module

from torch import nn

from prunelle.models.names import TABLE, Shape, check_spec
from prunelle.models.shapes import check_shape


def build(
    spec: str, *, input_shape: Shape | None = None, num_classes: int | None = None, trust: bool = False
) -> nn.Module:
    """Build the model that `spec` names, in training mode, on the CPU, float32.

    input_shape: (C, H, W), num_classes: None keeps what the model was made for (see `default_shape`). A user's factory
    is handed them where its signature has arguments of these names.
    trust: whether code in a user's file may be run.
    Raises ModelError, ShapeError, SettingError, MissingExtraError, UntrustedCodeError.
    """
    parts = check_spec(spec, trust)
    if input_shape is not None or num_classes is not None:
        check_shape(spec, (1, 1, 1) if input_shape is None else input_shape, 1 if num_classes is None else num_classes)
    if parts.kind == "timm":
        from prunelle.models.timm_zoo import build_timm

        return build_timm(parts.name, input_shape, num_classes)
    if parts.kind == "file":
        from prunelle.models.user_file import build_from_file

        return build_from_file(parts.name, parts.factory, input_shape, num_classes)
    if parts.kind == "members":
        from prunelle.models.members import build_members

        return build_members(partial(build, trust=trust), parts.name, parts.groups, input_shape, num_classes)
    row = TABLE[parts.name]
    module, function = row.builder.split(":")
    builder = getattr(import_module(module), function)
    return builder(
        input_shape=row.input_shape if input_shape is None else tuple(input_shape),
        num_classes=row.num_classes if num_classes is None else num_classes,
    )


def default_shape(spec: str) -> Shape | None:
    """(C, H, W) that the spec's model takes when told nothing; None for a user's file, which does not say.

    Raises ModelError, MissingExtraError.
    """
    parts = check_spec(spec, trust=True)
    if parts.kind == "members":
        return default_shape(parts.name)
    if parts.kind == "timm":
        from prunelle.models.timm_zoo import default_shape as timm_shape

        return timm_shape(parts.name)
    return TABLE[parts.name].input_shape if parts.kind == "name" else None
