import pytest
import torch
from torch import Tensor, nn

from prunelle.errors import ModelError
from prunelle.prune.channels import plan_channels
from prunelle.prune.export_channels import export_channels


class HardWired(nn.Module):
    """Every size in the forward is a number."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.qkv, self.out = nn.Conv2d(3, 16, 1), nn.Linear(16, 48), nn.Linear(16, 16)
        self.grouped, self.head = nn.Conv2d(16, 32, 3, groups=4), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        left, right = x.split([8, 8], 1)
        t = torch.cat([left.relu(), right], 1).reshape(2, 16, 64).transpose(1, 2)
        q, k, v = self.qkv(t).view(2, 64, 3, 2, 8).permute(2, 0, 3, 1, 4)
        t = (q @ k.mT / 8**0.5).softmax(-1) @ v
        t = self.out(t.transpose(1, 2).reshape(2, 64, 16))
        return self.head(self.grouped(t.transpose(1, 2).reshape(2, 16, 8, 8)).mean((2, 3)))


IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def num_params(model: nn.Module) -> int:
    return sum(t.numel() for t in model.state_dict().values())


def test_hard_wired_sizes_shrink_in_the_graph_and_not_in_the_module() -> None:
    model = HardWired().eval()
    small = export_channels(model, IMAGE, 0.5)
    assert num_params(small) < 0.45 * num_params(model)
    assert num_params(plan_channels(model, IMAGE, 0.5).apply(model)) > num_params(small)
    assert small(IMAGE).shape == (2, 5)


def test_nothing_goes_at_amount_0() -> None:
    model = HardWired().eval()
    assert torch.equal(export_channels(model, IMAGE, 0.0)(IMAGE), model(IMAGE))


def test_a_model_of_which_nothing_can_go_is_refused() -> None:
    with pytest.raises(ModelError, match="no channel can go"):
        export_channels(nn.Linear(3, 4), torch.randn(2, 3))
