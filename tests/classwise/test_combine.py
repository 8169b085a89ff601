"""classwise/combine.py: calibration, and where answers go wrong."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from prunelle.classwise.combine import HIGHEST, LOWEST, MOST_BIAS, calibrated, mistakes
from prunelle.models.members import Calibration, combined, num_outputs, places, shifted

pytestmark = pytest.mark.usefixtures("one_thread")
GROUPS = ((0, 2, 4), (1, 3), (5,))


def outputs(num: int, seed: int) -> list[Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return [2 * torch.randn(num, num_outputs(group), generator=draws) for group in GROUPS]


def loss(given: list[Tensor], found: Calibration, targets: Tensor) -> float:
    exact = Calibration(found.temperatures.double(), found.biases.double())
    joint = combined([one.double() for one in given], exact, places(GROUPS))
    return float(cross_entropy(joint, targets))


def test_a_known_calibration_is_found():
    """Targets are drawn from what the members say; what they then say louder, softer or too surely is put right."""
    true = outputs(30_000, 0)
    chances = combined(true, Calibration.none(3), places(GROUPS)).exp()
    targets = torch.multinomial(chances, 1, generator=torch.Generator().manual_seed(1))[:, 0]
    wanted, biases = torch.tensor([3.0, 0.5, 1.0]), torch.tensor([0.8, -0.4, 0.0])
    said = [shifted(one, -bias) * loud for one, loud, bias in zip(true, wanted, biases, strict=True)]
    found = calibrated(said, targets, GROUPS)
    assert found.temperatures.dtype == found.biases.dtype == torch.float32
    assert found.temperatures.tolist() == pytest.approx(wanted.tolist(), rel=0.08)
    assert found.biases.tolist() == pytest.approx(biases.tolist(), abs=0.1)
    assert loss(said, found, targets) < loss(said, Calibration(found.temperatures, torch.zeros(3)), targets) - 0.01
    assert loss(said, found, targets) < loss(said, Calibration.none(3), targets) - 0.05
    again = calibrated(said, targets, GROUPS)
    assert torch.equal(again.temperatures, found.temperatures) and torch.equal(again.biases, found.biases)


@pytest.mark.parametrize("seed", range(8))
def test_it_is_never_worse_than_no_change(seed):
    given = outputs(40, seed)
    targets = torch.randint(6, (40,), generator=torch.Generator().manual_seed(seed + 100))
    given = [one * 30.0 ** (seed % 3 - 1) for one in given]
    found = calibrated(given, targets, GROUPS)
    assert loss(given, found, targets) <= loss(given, Calibration.none(3), targets) + 1e-6
    assert (found.temperatures >= LOWEST * 0.999).all() and (found.temperatures <= HIGHEST * 1.001).all()
    assert (found.biases.abs() <= MOST_BIAS).all()


def test_what_tells_nothing_is_no_worse_for_it_and_what_is_broken_left_alone():
    given, targets = [torch.zeros(12, num_outputs(group)) for group in GROUPS], torch.arange(12) % 6
    assert loss(given, calibrated(given, targets, GROUPS), targets) <= loss(given, Calibration.none(3), targets)
    broken = [*given[:2], torch.full((12, 1), float("nan"))]
    found = calibrated(broken, targets, GROUPS)
    assert found.temperatures.tolist() == [1, 1, 1] and found.biases.tolist() == [0, 0, 0]


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
