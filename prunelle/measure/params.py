"""How many parameters a model has, and how many are not zero."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import UninitializedParameter

from prunelle.errors import ModelError

_NOT_PRUNED = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.EmbeddingBag)


@dataclass(frozen=True)
class ParamRow:
    """One parameter. prunable: a weight of linear, convolution, recurrent and attention layers, that is: called
    '...weight...', float, of two or more axes, and not of a norm or an embedding."""

    name: str
    shape: tuple[int, ...]
    params: int
    nnz: int
    prunable: bool

    @property
    def sparsity(self) -> float:
        """Share of zeros, 0 for an empty parameter."""
        return _sparsity(self.params, self.nnz)


@dataclass(frozen=True)
class ParamCount:
    """rows: in the order of named_parameters. A parameter that two layers share is there once, by its first name.

    Buffers (batch norm's running statistics, masks) are no parameters and are not counted.
    """

    rows: tuple[ParamRow, ...]

    @property
    def params(self) -> int:
        return sum(row.params for row in self.rows)

    @property
    def nnz(self) -> int:
        """Parameters that are not exactly 0 (NaN is not 0)."""
        return sum(row.nnz for row in self.rows)

    @property
    def sparsity(self) -> float:
        """Share of zeros among all parameters: the Card's figure."""
        return _sparsity(self.params, self.nnz)

    @property
    def prunable(self) -> int:
        return sum(row.params for row in self.rows if row.prunable)

    @property
    def prunable_nnz(self) -> int:
        return sum(row.nnz for row in self.rows if row.prunable)

    @property
    def prunable_sparsity(self) -> float:
        """Share of zeros among the prunable weights alone, which is what pruning papers report."""
        return _sparsity(self.prunable, self.prunable_nnz)


def count_params(model: nn.Module) -> ParamCount:
    """Count a model's parameters, in total and one by one. Shared ones count once.

    Raises ModelError for a lazy layer that has not seen an input yet.

    >>> count = count_params(nn.Linear(3, 2))
    >>> count.params, count.prunable
    (8, 6)
    """
    prunable = {
        id(parameter)
        for module in model.modules()
        if not isinstance(module, _NOT_PRUNED)
        for name, parameter in module.named_parameters(recurse=False)
        if "weight" in name and parameter.ndim >= 2 and parameter.is_floating_point()
    }
    rows = []
    for name, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise ModelError(f"{name}: has no shape yet, as the layer is lazy; run one batch through the model first.")
        # The meta device has no values: there every parameter counts as nonzero.
        nnz = parameter.numel() if parameter.is_meta else int(parameter.count_nonzero())
        rows.append(ParamRow(name, tuple(parameter.shape), parameter.numel(), nnz, id(parameter) in prunable))
    return ParamCount(tuple(rows))


def _sparsity(params: int, nnz: int) -> float:
    return 1 - nnz / params if params else 0.0
