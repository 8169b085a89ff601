"""classwise/combine.py: temperatures, and where answers go wrong."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from prunelle.classwise.combine import HIGHEST, LOWEST, calibrated, mistakes
from prunelle.models.members import combined, num_outputs, places

pytestmark = pytest.mark.usefixtures("one_thread")
GROUPS = ((0, 2, 4), (1, 3), (5,))


def outputs(num: int, seed: int) -> list[Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return [2 * torch.randn(num, num_outputs(group), generator=draws) for group in GROUPS]


def loss(given: list[Tensor], temperatures: Tensor, targets: Tensor) -> float:
    joint = combined([one.double() for one in given], temperatures.double(), places(GROUPS))
    return float(cross_entropy(joint, targets))


def test_known_temperatures_are_found():
    """Targets are drawn from what the members say; what they then say louder or softer is put right."""
    true = outputs(30_000, 0)
    chances = combined(true, torch.ones(3), places(GROUPS)).exp()
    targets = torch.multinomial(chances, 1, generator=torch.Generator().manual_seed(1))[:, 0]
    wanted = torch.tensor([3.0, 0.5, 1.0])
    louder = [one * factor for one, factor in zip(true, wanted, strict=True)]
    found = calibrated(louder, targets, GROUPS)
    assert found.dtype == torch.float32 and found.tolist() == pytest.approx(wanted.tolist(), rel=0.08)
    assert loss(louder, found, targets) < loss(louder, torch.ones(3), targets) - 0.05
    assert torch.equal(calibrated(louder, targets, GROUPS), found)


@pytest.mark.parametrize("seed", range(8))
def test_it_is_never_worse_than_no_change(seed):
    given = outputs(40, seed)
    targets = torch.randint(6, (40,), generator=torch.Generator().manual_seed(seed + 100))
    given = [one * 30.0 ** (seed % 3 - 1) for one in given]
    found = calibrated(given, targets, GROUPS)
    assert loss(given, found, targets) <= loss(given, torch.ones(3), targets) + 1e-6
    assert (found >= LOWEST * 0.999).all() and (found <= HIGHEST * 1.001).all()


def test_what_tells_nothing_is_left_alone():
    given = [torch.zeros(12, num_outputs(group)) for group in GROUPS]
    flat = calibrated([one * 0 for one in given], torch.arange(12) % 6, GROUPS)
    assert loss(given, flat, torch.arange(12) % 6) == pytest.approx(loss(given, torch.ones(3), torch.arange(12) % 6))
    broken = [*given[:2], torch.full((12, 1), float("nan"))]
    assert calibrated(broken, torch.arange(12) % 6, GROUPS).tolist() == [1, 1, 1]


def test_what_was_said_stays_as_it_was():
    given = outputs(20, 3)
    before = [one.clone() for one in given]
    calibrated(given, torch.arange(20) % 6, GROUPS)
    assert all(torch.equal(one, two) for one, two in zip(given, before, strict=True))
    assert not any(one.requires_grad for one in given)


def test_mistakes_by_hand():
    targets = torch.tensor([0, 0, 0, 1, 3, 5, 5])
    answers = torch.tensor([0, 2, 1, 3, 3, 5, 4])
    found = mistakes(answers, targets, GROUPS)
    # 0 -> 2 and 1 -> 3 stay in their groups, 0 -> 1 and 5 -> 4 do not.
    assert (found.within, found.across) == (2, 2)
    assert found.confusion.shape == (6, 6) and found.confusion.sum() == 7
    assert found.confusion[0].tolist() == [1, 1, 1, 0, 0, 0] and found.confusion[5].tolist() == [0, 0, 0, 0, 1, 1]


def test_mistakes_agree_with_a_plain_count():
    draws = torch.Generator().manual_seed(0)
    targets, answers = torch.randint(6, (300,), generator=draws), torch.randint(6, (300,), generator=draws)
    found = mistakes(answers, targets, GROUPS)
    group = {c: number for number, own in enumerate(GROUPS) for c in own}
    pairs = list(zip(targets.tolist(), answers.tolist(), strict=True))
    assert found.within == sum(t != a and group[t] == group[a] for t, a in pairs)
    assert found.across == sum(group[t] != group[a] for t, a in pairs)
    wanted = np.zeros((6, 6), dtype=np.int64)
    for t, a in pairs:
        wanted[t, a] += 1
    assert np.array_equal(found.confusion, wanted)


def test_without_a_mistake_there_is_none():
    found = mistakes(torch.arange(6), torch.arange(6), GROUPS)
    assert (found.within, found.across) == (0, 0) and np.array_equal(found.confusion, np.eye(6, dtype=int))
