import copy

import numpy as np
import pytest
import torch
from torch import nn

from prunelle.data.load import load_task
from prunelle.engines.passing import Shared, dumps, dumps_apart, loads
from prunelle.errors import DivergedError

VALUES = {
    "float": torch.arange(6.0).reshape(2, 3),
    "bfloat16": torch.arange(6).bfloat16(),
    "bool": torch.tensor([True, False]),
    "complex": torch.tensor([1 + 2j]),
    "no values": torch.empty(0, 3),
    "a number": torch.tensor(3.0),
    "turned": torch.arange(6.0).reshape(2, 3).t(),
    "channels last": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "spread out": torch.arange(10)[1::3],
}


def apart(value: object) -> object:
    body, arrays = dumps_apart(value)
    return loads(body, arrays)


@pytest.fixture
def shared():
    made: list[Shared] = []

    def share(value: object) -> Shared:
        made.append(Shared.of(value))
        return made[-1]

    yield share
    for one in made:
        one.close()


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("way", [lambda v: loads(dumps(v)), apart], ids=["whole", "apart"])
def test_a_tensor_arrives_as_it_was(name: str, way) -> None:
    value = VALUES[name]
    found = way(value)
    assert (found.dtype, found.shape, found.stride()) == (value.dtype, value.shape, value.stride())
    assert torch.equal(found, value)


@pytest.mark.parametrize("name", VALUES)
def test_a_tensor_is_shared_as_it_was(name: str, shared) -> None:
    assert torch.equal(shared(VALUES[name]).open(), VALUES[name])


def test_views_stay_views_and_bytes_travel_once() -> None:
    whole = torch.zeros(100_000)
    body, arrays = dumps_apart({"whole": whole, "row": whole[10:20], "again": whole})
    assert len(body) < 1000
    assert sum(map(len, arrays)) == 400_000
    found = loads(dumps({"whole": whole, "row": whole[10:20]}))
    found["row"][0] = 7
    assert found["whole"][10] == 7
    assert whole[10] == 0


def test_a_module_arrives_with_its_ties_and_gradients_asked_for() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    module[0].weight.requires_grad_(False)
    module.add_module("tied", nn.Linear(3, 3))
    module.tied.weight = module[0].weight
    found = loads(dumps(module))
    assert found.tied.weight is found[0].weight
    assert [p.requires_grad for p in found.parameters()] == [p.requires_grad for p in module.parameters()]
    assert all(
        torch.equal(a, b) for a, b in zip(found.state_dict().values(), module.state_dict().values(), strict=True)
    )
    assert all(isinstance(p, nn.Parameter) for p in found.parameters())


def test_two_that_open_it_have_the_same_memory_and_the_first_owner_another(shared) -> None:
    tensor, array = torch.zeros(5), np.zeros(3)
    both = shared({"tensor": tensor, "array": array})
    first, second = both.open(), both.open()
    first["tensor"][2] = 4.0
    first["array"][1] = 5.0
    assert second["tensor"].tolist() == [0, 0, 4, 0, 0]
    assert second["array"].tolist() == [0, 5, 0]
    assert tensor.sum() == 0 and array.sum() == 0


def test_what_was_opened_outlives_the_file() -> None:
    made = Shared.of(torch.ones(4))
    found = made.open()
    made.close()
    assert found.sum() == 4


def test_a_task_keeps_its_batches_and_its_bytes_lie_outside_the_body(shared) -> None:
    task = load_task("digits")
    sent = shared(task)
    found = sent.open()
    assert (found.fingerprint, found.loss, len(found.val)) == (task.fingerprint, task.loss, len(task.val))
    mine, others = (next(iter(one.train.epoch(64, order=torch.Generator().manual_seed(1)))) for one in (task, found))
    assert torch.equal(mine[0], others[0]) and torch.equal(mine[1], others[1])
    images = sum(split.images.numel() for split in (task.train, task.val, task.test))
    assert len(sent.body) < 5_000 < images < sent.spans[-1][1]


def test_nothing_in_it_is_no_trouble(shared) -> None:
    assert shared({"a": 1, "b": None}).open() == {"a": 1, "b": None}


def test_an_error_brings_its_network() -> None:
    network = nn.Linear(2, 2)
    found = loads(dumps(DivergedError("m", last_good=copy.deepcopy(network))))
    assert torch.equal(found.last_good.weight, network.weight)


def test_memory_that_cannot_be_written_is_read_without_a_warning(recwarn) -> None:
    body, arrays = dumps_apart(torch.arange(3))
    assert loads(body, [bytes(array) for array in arrays]).tolist() == [0, 1, 2]
    assert not recwarn.list
