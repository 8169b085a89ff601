"""Kept weights as lists."""

import pytest
import torch

from prunelle.tickets.sparse_lists import CHUNK_BYTES, alive_outputs, conv_lists_of, lists_of

MASK = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 1]]) > 0
ALIVE = torch.tensor([True, True, False])


def test_lists_by_hand():
    lists = lists_of(MASK, ALIVE, torch.tensor([0, 2]), vector_bytes=64)
    assert {name: table.tolist() for name, table in lists.tables.items()} == {
        "first": [0, 2, 2, 4],
        "input": [0, 2, 1, 2],
        "rows": [0, 1],
        "reads": [0, 2],
        "column": [0, 1, 1, 2],
        "place": [0, 1],
        "output": [0, 0],
    }
    assert (lists.chunks, lists.where.tolist()) == (1, [0, 2, 7, 8])
    assert "column" not in lists_of(MASK, ALIVE, torch.tensor([]), vector_bytes=64).tables


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_every_weight_stands_once(share):
    mask = torch.rand((7, 130), generator=torch.Generator().manual_seed(0)) < share
    lists = lists_of(mask, torch.ones(7) > 0, torch.arange(130), vector_bytes=64)
    assert lists.chunks == (3 if share > 0.1 else 1)
    weight = torch.randn(7, 130)
    assert torch.equal(lists.spread(lists.gather(weight)), weight * mask)
    tables = {name: table.long() for name, table in lists.tables.items()}
    size = CHUNK_BYTES // 512
    for chunk in range(lists.chunks):
        for output in range(7):
            first, end = tables["first"][chunk * 7 + output : chunk * 7 + output + 2]
            here = mask[output, size * chunk : size * (chunk + 1)] if lists.chunks > 1 else mask[output]
            assert (tables["input"][first:end] - size * chunk).tolist() == here.nonzero()[:, 0].tolist()
    for i in range(130):
        part = slice(*tables["column"][i : i + 2].tolist())
        assert tables["output"][part].tolist() == mask[:, i].nonzero()[:, 0].tolist()
        assert lists.where[tables["place"][part]].tolist() == [130 * o + i for o in tables["output"][part].tolist()]


def test_what_nothing_reads_is_not_alive():
    """Unit 1 of the second layer is read by nothing, so unit 0 of the first, which only it reads, is not either."""
    masks = [torch.ones(2, 4) > 0, torch.tensor([[0, 1], [1, 0]]) > 0, torch.tensor([[1, 0]]) > 0]
    assert [alive.tolist() for alive in alive_outputs(masks)] == [[False, True], [True, False], [True]]


def test_a_convolution_by_hand():
    """Two channels of 3 x 4 pixels: place (1, 1) of the second channel's kernel is 12 + 4 + 1 rows on."""
    mask = torch.zeros(2, 2, 2, 2, dtype=torch.bool)
    mask[0, 0, 0, 1] = mask[1, 1, 1, 1] = mask[1, 0, 1, 0] = True
    lists = conv_lists_of(mask, torch.tensor([False, True]), torch.tensor([5]), (3, 4))
    tables = {name: table.tolist() for name, table in lists.tables.items()}
    assert tables == {"first": [0, 1, 3], "input": [1, 4, 17], "rows": [1], "reads": [5]}
    assert torch.equal(lists.spread(torch.ones(3)), mask.float())


def test_pixels_of_a_channel_are_alive_together():
    masks = [torch.ones(2, 1, 1, 1) > 0, torch.tensor([[0, 1, 0, 0]]) > 0]
    assert alive_outputs(masks)[0].tolist() == [True, False]
