"""Bar: spoilt packed files are refused cleanly; benchmarks/hostile_packed.py does the same 10,000 times."""

import pytest

from .packed_damage import damages, originals, verdict

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_damage_is_refused_or_harmless(tmp_path):
    refused, faults = 0, []
    for what, original, spoilt in damages(400):
        problem, no = verdict(original, spoilt, tmp_path / "m.prn")
        refused += no
        if problem:
            faults.append(f"{what}: {problem}")
    assert faults == []
    assert refused > 370


def test_what_is_whole_opens(tmp_path):
    for raw in originals().values():
        assert verdict(raw, raw, tmp_path / "m.prn") == (None, False)


def test_another_files_weights_are_told_from_the_originals(tmp_path):
    files = originals()
    assert verdict(files["book"], files["grid"], tmp_path / "m.prn") == ("opened as something else", False)
