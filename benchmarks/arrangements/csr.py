"""torch's sparse CSR beside the C of sparse training, on the products of one update."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from arrangements.nets import BATCH, RULES, SGD
from prunelle.measure.latency import time_interleaved
from prunelle.tickets.sparse_training import SparseTrainer
from prunelle.tickets.trainer import Start


def csr_ratio(model: nn.Module, start: Start, batch: tuple[Tensor, Tensor], seconds: float) -> float:
    """How many times as long the products alone of one update take by sparse CSR as the whole update does in C.

    model: linear layers only. The products: forward, to the inputs of all layers but the first, and the gradient of the
    kept weights by sampled_addmm; neither activations nor loss nor optimizer.
    """
    trainer = SparseTrainer(model, [start], RULES["sgd"], tuple(batch[0].shape[1:]))  # type: ignore[arg-type]
    products = csr_products([start.tensors[name] * mask for name, mask in start.kept.items()])
    runs = [lambda: trainer.step_([batch], [SGD[1]], [0]), products]
    timings = time_interleaved(runs, min_seconds=seconds, min_samples=60)
    return timings[1].median_ms / timings[0].median_ms


def csr_products(weights: Sequence[Tensor]) -> Callable[[], None]:
    """weights: (outputs, inputs), 0 where not kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is in beta
        rows = [w.to_sparse_csr() for w in weights]
        columns = [w.T.contiguous().to_sparse_csr() for w in weights]
    inputs = [torch.randn(w.shape[1], BATCH) for w in weights]
    gradients = [torch.randn(w.shape[0], BATCH) for w in weights]

    def products() -> None:
        for w, x in zip(rows, inputs, strict=True):
            torch.mm(w, x)
        for w, d in zip(columns[1:], gradients[1:], strict=True):
            torch.mm(w, d)
        for w, x, d in zip(rows, inputs, gradients, strict=True):
            torch.sparse.sampled_addmm(w, d, x.T, beta=0.0)

    return products
