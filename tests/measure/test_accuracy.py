import math
from dataclasses import dataclass, replace

import pytest
import torch
from tiny import conv_net, mlp, same_bits, small_task, state_of
from torch import nn
from torch.nn.functional import cross_entropy

from prunelle.data.task import Split, correct
from prunelle.errors import DataError
from prunelle.measure.accuracy import EVAL_BATCH, Evaluation, evaluate, flips, wilson

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Listed(Split):
    """Inputs that are the outputs wanted, so that a model of nothing answers them."""

    outputs: torch.Tensor
    targets: torch.Tensor

    def __len__(self):
        return len(self.targets)

    def epoch(self, batch_size, *, order=None, augment=None, start=0, drop_last=False):
        assert order is None and augment is None and not drop_last
        return zip(self.outputs.split(batch_size), self.targets.split(batch_size), strict=True)

    def to(self, device):
        return self


def test_by_hand():
    outputs = torch.tensor([[0.0, math.log(3)], [math.log(3), 0.0], [0.0, 0.0]])
    found = evaluate(nn.Identity(), Listed(outputs, torch.tensor([1, 1, 0])), cross_entropy, correct)
    assert found.top1 == pytest.approx(2 / 3)
    assert found.loss == pytest.approx((math.log(4 / 3) + math.log(4) + math.log(2)) / 3)
    assert found.scores.tolist() == [1.0, 0.0, 1.0] and found.predictions.tolist() == [1, 0, 0]
    assert found.targets.tolist() == [1, 1, 0]


def test_batches_of_any_size_weigh_by_their_examples():
    generator = torch.Generator().manual_seed(0)
    num = 2 * EVAL_BATCH + 3
    outputs = torch.randn(num, 4, generator=generator)
    targets = torch.randint(0, 4, (num,), generator=generator)
    found = evaluate(nn.Identity(), Listed(outputs, targets), cross_entropy, correct)
    assert found.loss == pytest.approx(cross_entropy(outputs, targets).item(), rel=1e-5)
    assert found.top1 == (outputs.argmax(1) == targets).double().mean().item()
    assert len(found.scores) == num


def test_the_model_is_left_as_it_was():
    model, task = conv_net(), small_task(augmented=True)
    model[1].eval()
    before = state_of(model)
    first, second = (evaluate(model, task.train, task.loss, task.metric) for _ in range(2))
    assert torch.equal(first.scores, second.scores) and first.loss == second.loss  # no dropout, no augmentation
    assert same_bits(state_of(model), before)
    assert model.training and not model[1].training
    with pytest.raises(ZeroDivisionError):
        evaluate(model, task.val, lambda o, t: 1 / 0, task.metric)
    assert model.training


def test_outputs_of_another_shape_have_no_predictions():
    task = small_task()
    model = nn.Conv2d(2, 1, 1)
    found = evaluate(model, task.val, lambda o, t: o.mean(), lambda o, t: o.flatten(1).mean(1))
    assert found.predictions.numel() == 0 and len(found.scores) == 24


def test_an_empty_split_is_refused():
    with pytest.raises(DataError, match="evaluate: the split holds no examples; give one that does"):
        evaluate(nn.Identity(), Listed(torch.empty(0, 2), torch.empty(0, dtype=torch.int64)), cross_entropy, correct)


@pytest.mark.parametrize(("right", "count"), [(0, 10), (10, 10), (5, 10), (981, 1000), (1, 1)])
def test_wilson_holds_its_own_equation(right, count):
    """Its ends are the shares p with |right / count - p| = z sqrt(p (1 - p) / count)."""
    share = right / count
    for end in wilson(share, count):
        if 1e-12 < end < 1 - 1e-12:
            assert abs(share - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / count), rel=1e-6)
    low, high = wilson(share, count)
    assert 0 <= low <= share <= high <= 1 and low < high


def evaluation(scores: list[float], targets: list[int] | None = None) -> Evaluation:
    values = torch.tensor(scores)
    return Evaluation(float(values.double().mean()), 0.0, values, torch.empty(0), torch.tensor(targets or []))


def test_the_interval_of_shares_and_of_other_metrics():
    assert evaluation([1.0, 0.0, 1.0, 1.0]).interval == wilson(0.75, 4)
    # mean -2, spread sqrt(((1)^2 + (1)^2) / 2) = 1
    low, high = evaluation([-3.0, -1.0]).interval
    assert (low, high) == pytest.approx((-2 - 1.959964 / math.sqrt(2), -2 + 1.959964 / math.sqrt(2)))


def test_flips_by_hand():
    before = evaluation([1, 1, 0, 0, 1.0], [0, 0, 0, 1, 1])
    after = evaluation([1, 0, 1, 0, 0.0], [0, 0, 0, 1, 1])
    rows = flips(before, after, ("cat", "dog", "none"))
    assert rows[0] == {"class": "cat", "num": 3, "top1_before": pytest.approx(2 / 3),
                       "top1_after": pytest.approx(2 / 3), "lost": 1, "gained": 1}  # fmt: skip
    assert rows[1] == {"class": "dog", "num": 2, "top1_before": 0.5, "top1_after": 0.0, "lost": 1, "gained": 0}
    assert rows[2] == {"class": "none", "num": 0, "top1_before": None, "top1_after": None, "lost": 0, "gained": 0}


def test_nothing_flips_against_itself():
    task, model = small_task(), mlp()
    found = evaluate(model, task.test, task.loss, task.metric)
    assert all(row["lost"] == row["gained"] == 0 for row in flips(found, found, task.class_names))
    assert sum(row["num"] for row in flips(found, replace(found), task.class_names)) == len(task.test)
