"""What a kill inside a trial leaves in OUT."""

from pathlib import Path

from prunelle.tickets.trials import FOLDER, clear


def test_folders_of_trials_go_and_all_else_stays(tmp_path: Path) -> None:
    for name in (f"{FOLDER}abc", "runs"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_text("x")
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert (tmp_path / "runs" / "deep" / "file").exists()
    clear(tmp_path / "nothing")
