"""prune/group_sparse.py: the groups, the proximal step, and that pruning afterwards changes nothing."""

import pytest
import torch
from tiny import conv_net, mlp, new_run, same_bits, small_task, state_of
from torch import nn

from prunelle.errors import SettingError
from prunelle.graph.sets import analyse
from prunelle.graph.trace import trace
from prunelle.prune.channel_scores import batch_norm_scale
from prunelle.prune.channel_select import over_all_sets
from prunelle.prune.channels import plan_channels
from prunelle.prune.group_sparse import GroupSparse, ShrunkenGroups, groups_of
from prunelle.train.settings import TrainSettings
from prunelle.train.stage import Train

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGE = torch.ones(1, 2, 6, 6)
SETTINGS = TrainSettings(epochs=6, lr=0.05, batch_size=16)


def groups(model, image=IMAGE):
    return groups_of(analyse(model, trace(model, image)), dict(model.named_parameters()))


def test_a_unit_is_the_scale_and_shift_of_its_norm():
    model = conv_net()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([3.0, 0.0, 1.0, 0.0]))
        model[1].bias.copy_(torch.tensor([4.0, 0.0, 0.0, 2.0]))
    found = groups(model)
    tensors = {name for name, p in model.named_parameters() for tensor, *_ in found.rows if tensor is p}
    assert tensors == {"1.weight", "1.bias", "4.weight", "4.bias"}
    assert {5.0, 2.0, 0.0} <= set(found.lengths().tolist())  # sqrt(9 + 16), sqrt(4)
    assert set(found.sizes.tolist()[1:]) == {2.0}


def test_without_a_norm_a_unit_is_the_row_and_its_bias():
    model = mlp()
    found = groups(model)
    lengths = torch.cat([model[1].weight, model[1].bias[:, None]], 1).norm(dim=1)
    assert found.sizes.tolist() == [0.0] + [73.0] * 10
    assert found.lengths()[1:].tolist() == pytest.approx(lengths.tolist())


def test_the_proximal_step_by_hand():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, 0.0], [0.3, 0.0]]))
        model[0].bias.copy_(torch.tensor([4.0, -0.4]))
    asked = []
    constraint = ShrunkenGroups(groups(model, torch.ones(1, 2)), lambda step: asked.append(step) or 1 / 3**0.5)
    constraint.start_(0, {})
    constraint.after_update_(7)  # by 1 / sqrt(3) * sqrt(3 numbers): 5 becomes 4, 0.5 becomes 0
    assert model[0].weight.tolist()[0] == pytest.approx([2.4, 0.0]) and model[0].bias[0].item() == pytest.approx(3.2)
    gone = torch.cat([model[0].weight[1], model[0].bias[1:]])
    assert gone.tolist() == [0.0, 0.0, 0.0] and not gone.signbit().any()
    assert asked == [7] and constraint.state() == {} and constraint.settled(0)


def test_at_strength_0_it_is_training(tmp_path):
    task = small_task()
    sparse = GroupSparse(0.0, SETTINGS, name="x")(conv_net(), task, new_run(tmp_path))
    assert same_bits(state_of(sparse), state_of(Train(SETTINGS, "x")(conv_net(), task, new_run(tmp_path, b=1))))


def test_units_reach_exactly_0_and_cutting_them_changes_nothing(tmp_path):
    task, model = small_task(), conv_net()
    with torch.no_grad():
        model[4].weight[:5] = 0.2
    sparse = GroupSparse(0.7, SETTINGS, skip=("0",))(model, task, new_run(tmp_path)).eval()
    assert (sparse[1].weight != 0).all()
    found = groups(sparse)
    zero = found.lengths()[1:] == 0
    assert 0 < zero.sum() < len(zero)
    share = float(zero.sum()) / len(zero)
    plan = plan_channels(sparse, IMAGE, share, score=batch_norm_scale, scope=over_all_sets, skip=("0",))
    images = next(iter(task.val.epoch(24)))[0]
    pruned = plan.apply(sparse)
    assert plan.removed.any() and torch.allclose(pruned(images), sparse(images), atol=1e-6)


def test_a_negative_strength_is_refused():
    with pytest.raises(SettingError, match="group_sparse: strength is -1, must be 0 or more; 0 is plain training"):
        GroupSparse(-1, SETTINGS)
