import torch
from torch import nn

from prunelle.ship.formats import Order
from prunelle.ship.sizes import dense_bytes, sizes_of


def test_zeros_count_and_shared_weights_count_once(tmp_path):
    net = nn.Linear(100, 10, bias=False)
    full = dense_bytes(net, tmp_path)
    assert 4000 < full < 4000 + 200
    with torch.no_grad():
        net.weight.zero_()
    assert dense_bytes(net, tmp_path) == full

    tied = nn.Sequential(net, nn.Linear(100, 10, bias=False))
    tied[1].weight = net.weight
    assert 4000 < dense_bytes(tied, tmp_path) < 4000 + 200
    assert list(tmp_path.iterdir()) == []


def test_strides_do_not_matter(tmp_path):
    net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    assert dense_bytes(net, tmp_path) == dense_bytes(nn.Conv2d(3, 4, 3), tmp_path)


def test_each_form_is_written_and_gone_and_what_cannot_be_made_has_no_size(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    found = sizes_of(Order(net, torch.zeros(1, 3, 2, 2), "fp32"), tmp_path, ("pt2", "packed"))
    assert found["dense_safetensors"] == dense_bytes(net, tmp_path)
    assert found["pt2"] > 4 * 52 and found["packed"] is None
    assert list(tmp_path.iterdir()) == []
