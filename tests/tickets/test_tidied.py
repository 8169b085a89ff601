"""What a kill between a card and the end of `finish` leaves in a run."""

from pathlib import Path

from prunelle.tickets.finished import tidy
from prunelle.tickets.lottery import Place


def test_a_checkpoint_goes_where_a_card_stands_and_stays_where_none_does(tmp_path: Path) -> None:
    for run, names in {
        "a": ("card.json", "train.checkpoint", "rewind-0.checkpoint"),
        "b": ("train.checkpoint",),
    }.items():
        (tmp_path / "runs" / run).mkdir(parents=True)
        for name in names:
            (tmp_path / "runs" / run / name).write_text("x")
    tidy(Place(tmp_path))
    left = sorted(str(path.relative_to(tmp_path / "runs")) for path in tmp_path.glob("runs/*/*"))
    assert left == ["a/card.json", "a/rewind-0.checkpoint", "b/train.checkpoint"]
    tidy(Place(tmp_path / "nothing"))
