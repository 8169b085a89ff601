import pytest
import torch
from tiny import conv_net, mlp, same_bits
from torch import nn

from prunelle.errors import CorruptFileError
from prunelle.train.checkpoint import pack, unpack_
from prunelle.train.optimizers import Adam, Sgd
from prunelle.train.precision import Scale
from prunelle.train.progress import Progress
from prunelle.train.step import init_state


def test_everything_comes_back():
    state = init_state(conv_net(), Adam())
    with torch.no_grad():
        for tensors in state.optimizer.values():
            for tensor in tensors:
                tensor.normal_()
    progress = Progress(7, 2, 1.5, 0.1, 0.75, 2, Scale(8.0, 3), None, 6, {"data": 0.5}, 0.7, 1)
    kept = {"best": {"0.weight": torch.ones(2)}, "good": {"a:b": torch.zeros(1)}, "held": {}}
    tensors, info = pack(state, kept, progress)
    other, found = init_state(nn.Module.to(conv_net(), torch.float32), Adam()), Progress()
    for name in other.weights:
        with torch.no_grad():
            other.weights[name].zero_()
    back = unpack_(other, found, {name: t.clone() for name, t in tensors.items()}, info)
    assert same_bits(other.weights, state.weights) and same_bits(other.buffers, state.buffers)
    assert all(torch.equal(a, b) for q in state.optimizer for a, b in zip(state.optimizer[q], other.optimizer[q]))  # noqa: B905
    assert found == progress
    assert same_bits(back["best"], kept["best"]) and same_bits(back["good"], kept["good"]) and "held" not in back
    assert info["threads"] == torch.get_num_threads() and info["torch"] == torch.__version__


def test_before_the_first_validation_there_is_no_best():
    state = init_state(mlp(), Sgd())
    tensors, info = pack(state, {}, Progress())
    assert info["best_val"] is None
    found = Progress(best_val=0.3)
    unpack_(state, found, tensors, info)
    assert found.best_val == 0.3 and pack(state, {}, Progress(best_val=0.0, best_epoch=1))[1]["best_val"] == 0.0


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [
        (lambda: nn.Linear(1, 2), Sgd()),  # its (2, 1) would broadcast into (2, 3)
        (lambda: nn.Linear(3, 2, bias=False), Sgd()),
        (lambda: nn.Linear(3, 2), Sgd(momentum=0.0)),
        (lambda: nn.Linear(3, 2), Adam()),
    ],
)
def test_a_checkpoint_of_another_model_or_optimizer_is_refused(make, optimizer):
    tensors, info = pack(init_state(make(), optimizer), {}, Progress())
    state = init_state(nn.Linear(3, 2), Sgd())
    with pytest.raises(CorruptFileError, match=r"checkpoint: is of another model \(.* differs\); delete it and start"):
        unpack_(state, Progress(), tensors, info)
