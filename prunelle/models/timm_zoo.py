"""Models of timm, the one optional dependency that this file imports. Weights are random, nothing is downloaded."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import nn

from prunelle.errors import MissingExtraError, ModelError
from prunelle.models.names import Shape, first_line, suggest


def default_shape(name: str) -> Shape:
    """(C, H, W) that timm's `name` was made for. Raises ModelError, MissingExtraError."""
    timm = _import_timm()
    _check_name(timm, name)
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    channels, height, width = config.input_size if config is not None else (3, 224, 224)
    return channels, height, width


def build_timm(name: str, input_shape: Shape | None = None, num_classes: int | None = None) -> nn.Module:
    """timm's `name` with random weights; None keeps timm's own input shape and number of classes.

    Raises ModelError (unknown name, a shape that timm refuses), MissingExtraError.
    """
    timm = _import_timm()
    _check_name(timm, name)
    settings: dict[str, Any] = {}
    if num_classes is not None:
        settings["num_classes"] = num_classes
    if input_shape is not None:
        settings["in_chans"] = input_shape[0]
        config = timm.get_pretrained_cfg(name, allow_unregistered=True)
        if config is not None and config.fixed_input_size and tuple(config.input_size[1:]) != tuple(input_shape[1:]):
            settings["img_size"] = tuple(input_shape[1:])
    try:
        return timm.create_model(name, pretrained=False, **settings)
    except Exception as error:
        raise ModelError(f"timm:{name}: timm cannot build it with {settings} ({first_line(error)}).") from error


def _check_name(timm: ModuleType, name: str) -> None:
    if not timm.is_model(name):
        raise ModelError(
            f"timm:{name}: timm {timm.__version__} has no model of this name{suggest(name, timm.list_models())} "
            "timm.list_models() lists them."
        )


def _import_timm() -> ModuleType:
    try:
        _import_torchvision()
        import timm
    except Exception as error:
        # Not only ImportError: a torchvision built for another torch fails in many ways.
        raise MissingExtraError(
            f"timm: it or torchvision cannot be imported ({first_line(error)}); pip install prunelle[vision]."
        ) from error
    return timm


def _import_torchvision() -> None:
    """timm imports torchvision, whose own import fails without its compiled part, as next to a CPU torch.

    Two declared operators are enough for it to load; nothing that timm builds here calls them.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401
