"""prune/by_activation.py and reading_places.py: where channels are read, and numbers worked out by hand."""

import copy

import pytest
import torch
from tiny import conv_net, same_bits, seeded, small_task, state_of
from torch import nn

from prunelle.errors import ModelError
from prunelle.graph.sets import analyse
from prunelle.graph.trace import trace
from prunelle.models.load import build
from prunelle.prune.by_activation import Summary, channel_activations

pytestmark = pytest.mark.usefixtures("one_thread")


def found_in(model, inputs, *batches, threshold=0.0):
    """Activations by layer. inputs: what the model is traced with."""
    tied = analyse(model, trace(model, inputs))
    return {one.layer: one for one in channel_activations(model, tied, batches, threshold).values()}


class Ways(nn.Module):
    """Channels that are read in every way there is."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4)
        self.inner, self.outer = nn.Conv2d(4, 6, 1), nn.Conv2d(6, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.left, self.right = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 5, 1)
        self.normed, self.after = nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4)
        self.bare, self.head = nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x):
        x = self.bn(self.stem(x)).relu_()  # a norm, then a rectifier that no module owns
        x = (x + self.norm(self.outer(self.inner(x).relu()))).relu()  # a sum before the rectifier
        x = torch.cat([self.left(x), self.right(x)], 1).relu()  # side by side
        x = self.after(self.normed(x))  # only a norm
        return self.head(self.bare(x).mean((2, 3)))


def watched(model, inputs):
    """The plain version: the same steps, written out again."""
    seen = {}
    x = seen["stem"] = model.bn(model.stem(inputs)).relu()
    y = seen["inner"] = model.inner(x).relu()
    x = seen["outer"] = (x + model.norm(model.outer(y))).relu()
    sides = torch.cat([model.left(x), model.right(x)], 1).relu()
    seen["left"], seen["right"] = sides[:, :3], sides[:, 3:]
    x = seen["normed"] = model.after(model.normed(sides))
    seen["bare"] = model.bare(x)
    return seen


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_every_layer_is_read_where_it_should_be_and_agrees_with_the_forward_written_out():
    model = seeded(Ways).eval()
    batches = [(noise(8, 2, 3, 3, seed=seed), torch.tensor([0, 1, 1, 2, 0, 0, 1, 2])) for seed in (1, 2)]
    found = found_in(model, batches[0][0], *batches)
    with torch.no_grad():
        wanted = watched(model, torch.cat([inputs for inputs, _ in batches]))
    targets = torch.cat([labels for _, labels in batches])
    assert set(found) == {*wanted, "head"}
    for layer, values in wanted.items():
        for summary, own in [(found[layer].all, values)] + [
            (found[layer].by_class[label], values[targets == label]) for label in range(3)
        ]:
            flat = own.movedim(1, 0).flatten(1).double()
            assert summary.num == len(own)
            assert summary.zeros.tolist() == pytest.approx((flat <= 0).double().mean(1).tolist()), layer
            assert summary.mean.tolist() == pytest.approx(flat.mean(1).tolist(), abs=1e-6), layer


def test_numbers_by_hand():
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-2.0]]))
    inputs, targets = torch.tensor([[1.0], [3.0], [-1.0], [0.0]]), torch.tensor([5, 5, 7, 7])
    one = found_in(model, inputs, (inputs, targets))["0"]
    # after the rectifier: 1 3 0 0 and 0 0 2 0
    assert one.all.num == 4 and one.all.zeros.tolist() == [0.5, 0.75] and one.all.mean.tolist() == [1.0, 0.5]
    assert set(one.by_class) == {5, 7}
    assert one.by_class[5].zeros.tolist() == [0.0, 1.0] and one.by_class[7].mean.tolist() == [0.0, 1.0]
    assert one.of([5, 7]).zeros.tolist() == one.all.zeros.tolist() and one.of([7]).num == 2
    above = found_in(model, inputs, (inputs, targets), threshold=1.0)["0"]
    assert above.all.zeros.tolist() == [0.75, 0.75]


def test_classes_are_put_together_by_their_numbers_of_images():
    one = Summary(1, torch.tensor([0.0]), torch.tensor([4.0]))
    three = Summary(3, torch.tensor([1.0]), torch.tensor([0.0]))
    both = one.plus(three)
    assert (both.num, both.zeros.item(), both.mean.item()) == (4, 0.75, 1.0)


def test_option_a_shortcuts_and_residual_trunks():
    """The second layer of a block is read behind the block's own sum, also where the shortcut is padded with 0."""
    model = seeded(lambda: build("resnet20")).eval()
    inputs, seen = noise(4, 3, 32, 32), {}
    for name, module in model.named_modules():
        if name.count(".") == 1:
            module.register_forward_hook(lambda _, args, out, name=name: seen.update({name: out.clone()}))
    plain = copy.deepcopy(model)
    found = found_in(plain, inputs, (inputs, torch.zeros(4, dtype=torch.long)))
    with torch.no_grad():
        model(inputs)
    for block in ("layer1.0", "layer2.0", "layer3.2"):
        flat = seen[block].movedim(1, 0).flatten(1)
        share = (flat <= 0).double().mean(1)
        assert found[f"{block}.conv2"].all.zeros.tolist() == pytest.approx(share.tolist(), abs=1e-4)
        assert found[f"{block}.conv2"].after.startswith("relu")


def test_a_transposed_layer_and_a_recurrent_one():
    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.rnn, self.head = nn.ConvTranspose1d(2, 3, 2, stride=2), nn.LSTM(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            x = self.up(x).relu()
            return self.head(self.rnn(x.permute(2, 0, 1))[0][-1])

    model, inputs = seeded(Sequence).eval(), noise(5, 2, 3)
    found = found_in(model, inputs, (inputs, torch.arange(5)))
    with torch.no_grad():
        values = model.up(inputs).relu().movedim(1, 0).flatten(1)
        units = model.rnn(model.up(inputs).relu().permute(2, 0, 1))[0].flatten(0, 1)
    assert found["up"].all.mean.tolist() == pytest.approx(values.mean(1).tolist(), rel=1e-5)
    assert found["rnn"].all.mean.tolist() == pytest.approx(units.mean(0).repeat(4).tolist(), rel=1e-4, abs=1e-6)
    assert found["rnn"].by_class == {} and set(found["up"].by_class) == set(range(5))
    with pytest.raises(ModelError, match=r"rnn: what it gives class 1 is not known, only \[\]; give batches that hold"):
        found["rnn"].of([1])


def test_the_model_stays_and_batches_of_another_size_are_left_out():
    model, task = conv_net(), small_task(100)
    before = state_of(model)
    batches = list(task.train.epoch(64))
    found = found_in(model, batches[0][0], *batches)
    assert same_bits(state_of(model), before) and model.training
    assert found["0"].all.num == 64
    assert found["0"].of(range(3)).mean.tolist() == pytest.approx(found["0"].all.mean.tolist())


def test_targets_that_are_no_classes():
    inputs = noise(4, 2, 6, 6)
    assert found_in(conv_net(), inputs, (inputs, torch.rand(4)))["0"].by_class == {}


def test_refusals():
    inputs = noise(4, 2, 6, 6)
    with pytest.raises(
        ModelError, match="Sequential: no batch had the 4 examples that it was traced with; give larger"
    ):
        found_in(conv_net(), inputs, (inputs[:3], torch.zeros(3)))

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x, y):
            return self.b(self.a(x) + y)

    model = Two()
    with pytest.raises(ModelError, match="Two: takes 2 inputs; activations are read of models with one"):
        channel_activations(model, analyse(model, trace(model, (noise(1, 2), noise(1, 2)))), [])
