"""Cut half the channels of a module of your own, see what had to stay and why, train on, save and load. Seconds."""

import tempfile

import torch
from torch import Tensor, nn

from prunelle.measure.macs import count_macs
from prunelle.models.save import load, save
from prunelle.prune.channels import plan_channels


class Net(nn.Module):
    """A residual trunk, a gate that squeezes it, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.inner = nn.Sequential(nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.Conv2d(64, 32, 1))
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 8, 1), nn.ReLU(), nn.Conv2d(8, 32, 1))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x[..., 1:-1, 1:-1] + self.inner(x)
        return self.head((x * self.gate(x).sigmoid()).mean((2, 3)))


def main() -> None:
    torch.manual_seed(0)
    net, images = Net().eval(), torch.randn(4, 3, 16, 16)
    plan = plan_channels(net, images[:1], amount=0.5)  # nothing is touched before the whole plan is proved
    for one in plan.tied.sets:
        print(
            f"{one.name}: {len(one.units)} channels that go together, {int(plan.removed[one.units].sum())} of them go"
        )
    for stays in plan.frozen:
        print(f"{stays.what} stays: {stays.why}")

    small = plan.apply(net)  # `net` stays as it was; `small` is a Net too
    before, after = (count_macs(one, images[:1]).total for one in (net, small))
    print(f"{after:,} of {before:,} multiply-adds are left; off the masked network by {plan.proof.error:.0e}")

    loss = nn.functional.cross_entropy(small.train()(images), torch.tensor([1, 2, 3, 4]))
    loss.backward()
    with tempfile.TemporaryDirectory() as folder:
        save(small, folder, cuts=plan.cuts)  # safetensors and JSON; the cuts are kept as indices
        again = load(folder, Net())
    pairs = zip(small.state_dict().values(), again.state_dict().values(), strict=True)
    print("loaded, bit for bit:", all(torch.equal(a, b) for a, b in pairs))


if __name__ == "__main__":
    main()
