import pytest
import torch
from torch import Tensor, nn

from prunelle.errors import CorruptFileError, SettingError, UntrustedCodeError, WorkError
from prunelle.ship.exported import open_pt2, write_pt2


class Branching(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images if images.sum() > 0 else -images


def test_a_saved_program_gives_the_model_s_outputs_at_any_batch_size(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(36, 2)).eval()
    write_pt2(net.train(), torch.zeros(1, 3, 5, 5), tmp_path / "net.pt2")
    assert net.training and [path.name for path in tmp_path.iterdir()] == ["net.pt2"]
    run = open_pt2(tmp_path / "net.pt2", trust=True)
    for batch in (1, 7):
        images = torch.randn(batch, 3, 5, 5)
        with torch.no_grad():
            torch.testing.assert_close(run(images), net.eval()(images))


def test_it_is_code_and_is_opened_only_with_trust(tmp_path):
    with pytest.raises(UntrustedCodeError, match=r"opening a \.pt2 can run code that it holds; pass --trust"):
        open_pt2(tmp_path / "net.pt2")


def test_rubbish_is_one_sentence(tmp_path):
    (tmp_path / "net.pt2").write_bytes(b"rubbish")
    with pytest.raises(CorruptFileError, match=r"net\.pt2: cannot be read as \.pt2 \(.*\); ship it anew\.$"):
        open_pt2(tmp_path / "net.pt2", trust=True)


def test_what_cannot_be_exported_leaves_nothing(tmp_path):
    with pytest.raises(WorkError, match=r"^pt2: Branching could not be exported \(.*\); take another format\.$"):
        write_pt2(Branching(), torch.ones(2, 3), tmp_path / "net.pt2")
    with pytest.raises(SettingError, match="pt2: the example is on meta"):
        write_pt2(Branching(), torch.ones(2, 3, device="meta"), tmp_path / "net.pt2")
    assert list(tmp_path.iterdir()) == []
