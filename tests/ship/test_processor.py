from pathlib import Path

import pytest

from prunelle.errors import SettingError
from prunelle.ship import processor
from prunelle.ship.processor import MACROS, X86_64_V3, features_here, needs_of, refuse_processor

OLD = "processor\t: 0\nflags\t\t: fpu sse2 ssse3 avx avx2 fma\nbugs\t\t: spectre\n\nprocessor\t: 1\nflags\t: other\n"
MACHINE = "#define __AVX2__ 1\n#define __AVX512F__ 1\n#define __AVX512FP16__ 1\n#define __SHA__ 1\n"


@pytest.fixture(autouse=True)
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(OLD)
    return tmp_path / "cpuinfo"


def test_what_the_system_tells(told: Path) -> None:
    assert features_here() == {"fpu", "sse2", "ssse3", "avx", "avx2", "fma"}
    told.write_text("processor : 0\nFeatures\t: fp asimd asimddp\n")
    assert features_here() == {"fp", "asimd", "asimddp"}
    told.unlink()
    assert features_here() is None


def test_what_a_library_needs(told: Path) -> None:
    assert needs_of("native", MACHINE) == ["avx2"]
    told.write_text(OLD.replace("avx2", "avx2 avx512f sha_ni"))
    assert needs_of("native", MACHINE) == ["avx2", "avx512f"]
    assert needs_of("x86-64-v3", MACHINE) == list(X86_64_V3)
    assert needs_of("wasm32-wasi", MACHINE) == needs_of("aarch64-linux", MACHINE) == []
    assert set(X86_64_V3) < set(MACROS.values())


def test_what_is_missing_is_named(told: Path) -> None:
    with pytest.raises(SettingError) as caught:
        refuse_processor("out", ["avx2", "avx512f", "avx512bw"], "native")
    assert str(caught.value) == (
        "out: needs a processor with avx512bw, avx512f, which this one has not; "
        "build it here, or there with --target x86-64-v3."
    )
    with pytest.raises(SettingError, match=r"with movbe, which this one has not; build it here\.$"):
        refuse_processor("out", ["avx2", "movbe"], "x86-64-v3")


def test_nothing_is_refused_where_nothing_is_missing_or_known(told: Path) -> None:
    refuse_processor("out", ["avx2", "fma"], "native")
    refuse_processor("out", [], "native")
    told.unlink()
    refuse_processor("out", ["avx512f"], "native")
