"""A packed file is a MODEL wherever one is named."""

import json

import pytest

from prunelle.cli.main import answer
from prunelle.models.packed.model import to_bytes
from prunelle.models.save import Builder

BUILDER = Builder(spec="lenet5_small", input_shape=[1, 8, 8], num_classes=10)


def test_a_packed_file_is_measured_by_its_own_bytes(tmp_path, capsys):
    path = tmp_path / "m.prn"
    path.write_bytes(to_bytes(BUILDER.make(), builder=BUILDER))
    assert answer(["measure", str(path), "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["size_bytes"] == path.stat().st_size and card["params"] == sum(
        p.numel() for p in BUILDER.make().parameters()
    )


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        (b"PRUNPACK", [], "is no file that prunelle packed"),
        (b"PRUNPACK\x07\0" + bytes(90), [], "is of version 7, this program reads 1"),
        (b"PRUNPACK", ["--weights", "w.pth"], "has weights of its own; pass one of the two"),
        (b"other", [], "no model of this name"),
    ],
)
def test_what_is_none_is_refused_in_one_sentence(content, arguments, said, tmp_path, capsys):
    path = tmp_path / "m.prn"
    path.write_bytes(content)
    assert answer(["measure", str(path), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and str(path) in captured.err and said in captured.err
