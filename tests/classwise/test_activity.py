"""classwise/activity.py: how much a class makes each channel work."""

import numpy as np
import pytest
import torch
from tiny import conv_net, small_task
from torch import nn

from prunelle.classwise.activity import (
    Activity,
    activity,
    candidate_overlap,
    class_features,
    cosine_similarity,
    ranks,
)
from prunelle.classwise.head import Head
from prunelle.classwise.look import look_at
from prunelle.data.task import Batch
from prunelle.errors import DataError, ModelError
from prunelle.graph.sets import Tied, analyse
from prunelle.graph.trace import trace
from prunelle.prune.by_activation import channel_activations

pytestmark = pytest.mark.usefixtures("one_thread")


def net(*weights: float) -> nn.Module:
    """A channel a weight, a rectifier, the mean of the pixels, and a head of two classes."""
    model = nn.Sequential(
        nn.Conv2d(1, len(weights), 1, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(len(weights), 2),
    )
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(weights).view(-1, 1, 1, 1))
    return model.eval()


IMAGES = torch.tensor([[2.0, 2.0, 2.0, 2.0], [-1.0, -1.0, -1.0, 3.0]]).view(2, 1, 2, 2)
BATCH = (IMAGES, torch.tensor([0, 1]))


def read(model: nn.Module, *batches: Batch, zero: float = 0.0) -> tuple[Tied, dict]:
    tied = analyse(model, trace(model, batches[0][0]))
    return tied, dict(channel_activations(model, tied, batches, zero))


def of(tied: Tied, values) -> list[float]:
    return values[tied.sets[0].units].tolist()


def test_two_channels_by_hand():
    """Channels x and -x behind a rectifier: of class 0 the image is 2 everywhere; of class 1 -1 thrice and 3 once."""
    tied, seen = read(net(1.0, -1.0), BATCH)
    first = activity(tied, seen, [0])
    # Means 2 and 0, over their mean 1.
    assert (of(tied, first.apoz), of(tied, first.mean)) == ([0.0, 1.0], [2.0, 0.0])
    second = activity(tied, seen, [1])
    # Means .75 and .75.
    assert (of(tied, second.apoz), of(tied, second.mean)) == ([0.75, 0.25], [1.0, 1.0])
    both = activity(tied, seen, [0, 1])
    # Means 1.375 and .375, over .875.
    assert of(tied, both.apoz) == pytest.approx([0.375, 0.625])
    assert of(tied, both.mean) == pytest.approx([11 / 7, 3 / 7])
    others = np.setdiff1d(np.arange(len(both.apoz)), tied.sets[0].units)
    assert np.isnan(both.apoz[others]).all() and np.isnan(both.mean[others]).all()


def test_what_counts_as_zero():
    tied, seen = read(net(1.0, -1.0), BATCH, zero=1.0)
    assert of(tied, activity(tied, seen, [1]).apoz) == [0.75, 1.0]


def test_classes_count_by_their_images():
    """Two images of class 0 and one of class 1 are the mean over three images."""
    images, targets = IMAGES[[0, 0, 1]], torch.tensor([0, 0, 1])
    tied, seen = read(net(1.0, -1.0), (images, targets))
    assert of(tied, activity(tied, seen, [0, 1]).apoz) == pytest.approx([0.25, 0.75])


def test_a_layer_that_is_silent_has_means_of_zero():
    tied, seen = read(net(-1.0, -1.0), (IMAGES.abs(), torch.tensor([0, 1])))
    found = activity(tied, seen, [0])
    assert (of(tied, found.apoz), of(tied, found.mean)) == ([1.0, 1.0], [0.0, 0.0])


def test_a_class_that_was_not_seen_is_refused():
    tied, seen = read(net(1.0, -1.0), BATCH)
    with pytest.raises(
        ModelError, match=r"what it gives class 5 is not known, only \[0, 1\]; give batches that hold it"
    ):
        activity(tied, seen, [5])


def made_up(tied: Tied, apoz: list[float], mean: list[float]) -> Activity:
    found = [np.full(len(tied.components.root), np.nan) for _ in range(2)]
    for values, given in zip(found, (apoz, mean), strict=True):
        values[tied.sets[0].units] = given
    return Activity(*found)


def test_ranks_by_hand():
    tied, _ = read(net(1.0, -1.0, 2.0), BATCH)
    # Places in activity 3, 2, 1 and in mean 1, 3, 2: the higher of both, of three.
    found = ranks(tied, made_up(tied, [0.0, 0.5, 0.9], [1.0, 3.0, 2.0]))
    assert of(tied, found) == pytest.approx([1.0, 1.0, 2 / 3])
    others = np.setdiff1d(np.arange(len(found)), tied.sets[0].units)
    assert (found[others] == 1).all()


def test_units_up_to_a_rank_are_those_under_two_thresholds():
    tied, _ = read(net(*np.linspace(-1, 1, 12)), BATCH)
    draws = np.random.default_rng(0)
    apoz, mean = draws.random(12), draws.random(12)
    found = np.array(of(tied, ranks(tied, made_up(tied, apoz, mean))))
    for rank in np.unique(found):
        place = round(rank * 12) - 1
        least, most = np.sort(1 - apoz)[place], np.sort(mean)[place]
        assert ((found <= rank) == ((1 - apoz <= least) & (mean <= most))).all()


def test_what_is_not_known_counts_as_most_active():
    tied, _ = read(net(1.0, -1.0, 2.0), BATCH)
    found = of(tied, ranks(tied, made_up(tied, [np.nan, 0.1, 0.2], [np.nan, 5.0, 6.0])))
    assert found[0] == 1.0 and max(found[1:]) < 1.0


def test_class_features_are_means_of_what_the_head_is_given():
    model = net(1.0, -1.0)
    images = IMAGES[[0, 1, 0]]
    found = class_features(
        model, Head("4"), [(images[:2], torch.tensor([0, 1])), (images[2:] * 2, torch.tensor([0]))], 2
    )
    # Class 0: means of 2 and of 4; class 1: 3/4 above and 3/4 below.
    assert found.tolist() == [[3.0, 0.0], [0.75, 0.75]] and found.dtype == np.float64
    assert not model[4]._forward_pre_hooks
    with pytest.raises(DataError, match=r"^class features: no image of classes \[2, 3\] was seen; give more images\.$"):
        class_features(model, Head("4"), [BATCH], 4)
    assert not model[4]._forward_pre_hooks


def test_features_of_a_convolution_are_means_over_its_pixels():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    found = class_features(model, Head("0"), [BATCH], 2)
    assert found.tolist() == [[2.0], [0.0]]


def test_cosine_by_hand():
    # Less their mean (1, 1): (1, 0), (-1, 0), (0, 1), (0, -1).
    found = cosine_similarity(np.array([[2.0, 1.0], [0.0, 1.0], [1.0, 2.0], [1.0, 0.0]]))
    assert found.tolist() == [[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, -1], [0, 0, -1, 1]]
    assert cosine_similarity(np.ones((3, 2))).tolist() == np.zeros((3, 3)).tolist()


def test_overlap_of_candidates_by_hand():
    """Class 0 makes channels 0 and 1 work, class 1 channels 2 and 3, class 2 channels 0 and 2; all others are idle."""
    model = nn.Sequential(
        nn.Conv2d(4, 4, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(4).view(4, 4, 1, 1))
    work = torch.tensor([[2.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 1.0], [2.0, 0.0, 1.0, 0.0]])[:, :, None, None]
    work = torch.cat([work, work - 0.01 * torch.arange(4.0).view(1, 4, 1, 1)], 3)
    tied, seen = read(model.eval(), (work, torch.tensor([0, 1, 2])))
    found = candidate_overlap(tied, seen, 3)
    assert np.diag(found).tolist() == [1, 1, 1] and np.array_equal(found, found.T)
    # Idle {2, 3}, {0, 1} and {1, 3}: none together, one of three, one of three.
    assert found[0].tolist() == pytest.approx([1, 0, 1 / 3]) and found[1, 2] == pytest.approx(1 / 3)
    assert candidate_overlap(tied, seen, 3, share=0.0).tolist() == np.ones((3, 3)).tolist()


def test_looking_at_a_network_leaves_it_as_it_was_and_is_repeatable():
    task, model = small_task(), conv_net().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, second = (look_at(model, task, num_images=32, seed=1) for _ in range(2))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert first.head == Head("8") and first.features.shape == (3, 32) and first.overlap.shape == (3, 3)
    assert np.array_equal(first.features, second.features) and np.array_equal(first.overlap, second.overlap)
    assert np.allclose(np.diag(first.similarity), 1)
    # 4 channels of 2x9 on 36 pixels, 8 of 2x9 on 4, 32 x 3.
    assert first.macs == 4 * 18 * 36 + 8 * 18 * 4 + 96


def test_looking_needs_classes_and_channels_that_can_go():
    task = small_task()
    regression = small_task()
    object.__setattr__(regression.train, "labels", torch.zeros(len(task.train)))
    with pytest.raises(
        DataError, match=r"^small: its targets are no classes; class-wise networks need one class an image"
    ):
        look_at(conv_net().eval(), regression)
    with pytest.raises(ModelError, match=r"^Sequential: no channel of it can go, so no member can be smaller\.$"):
        look_at(nn.Sequential(nn.Flatten(), nn.Linear(72, 3)).eval(), task)
