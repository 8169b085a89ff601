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
    """One parameter. prunable: see the function of that name."""

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


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of linear, convolution, recurrent and attention layers by name, each tied one once.

    That is: parameters called "...weight...", float, of 2 or more axes, outside norms and embeddings. Biases, norms,
    position and token embeddings are left alone.

    >>> list(prunable(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))))
    ['0.weight']
    """
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for path, module in model.named_modules():
        if isinstance(module, _NOT_PRUNED):
            continue
        for name, parameter in module.named_parameters(path, recurse=False):
            weight = "weight" in name.rpartition(".")[2] and parameter.ndim >= 2 and parameter.is_floating_point()
            if weight and id(parameter) not in seen:
                seen.add(id(parameter))
                found[name] = parameter
    return found


def count_params(model: nn.Module) -> ParamCount:
    """Count a model's parameters, in total and one by one. Shared ones count once.

    Raises ModelError for a lazy layer that has not seen an input yet.

    >>> count = count_params(nn.Linear(3, 2))
    >>> count.params, count.prunable
    (8, 6)
    """
    chosen = {id(parameter) for parameter in prunable(model).values()}
    rows = []
    for name, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise ModelError(f"{name}: has no shape yet, as the layer is lazy; run one batch through the model first.")
        # The meta device has no values: there every parameter counts as nonzero.
        nnz = parameter.numel() if parameter.is_meta else int(parameter.count_nonzero())
        rows.append(ParamRow(name, tuple(parameter.shape), parameter.numel(), nnz, id(parameter) in chosen))
    return ParamCount(tuple(rows))


def _sparsity(params: int, nnz: int) -> float:
    return 1 - nnz / params if params else 0.0
