"""What a library asks of the processor that runs it: an instruction that is not there ends the whole process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prunelle.errors import SettingError

CPUINFO = Path("/proc/cpuinfo")
X86_64_V3 = ("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "popcnt", "sse4_1", "sse4_2", "ssse3")
"""As Linux calls what the psABI's level 3 has beyond the first x86-64."""

MACROS = {
    "__SSSE3__": "ssse3",
    "__SSE4_1__": "sse4_1",
    "__SSE4_2__": "sse4_2",
    "__POPCNT__": "popcnt",
    "__AVX__": "avx",
    "__AVX2__": "avx2",
    "__FMA__": "fma",
    "__F16C__": "f16c",
    "__BMI__": "bmi1",
    "__BMI2__": "bmi2",
    "__LZCNT__": "abm",
    "__MOVBE__": "movbe",
    "__GFNI__": "gfni",
    "__AVXVNNI__": "avx_vnni",
    "__AVX512F__": "avx512f",
    "__AVX512BW__": "avx512bw",
    "__AVX512CD__": "avx512cd",
    "__AVX512DQ__": "avx512dq",
    "__AVX512VL__": "avx512vl",
    "__AVX512IFMA__": "avx512ifma",
    "__AVX512VBMI__": "avx512vbmi",
    "__AVX512VBMI2__": "avx512_vbmi2",
    "__AVX512VNNI__": "avx512_vnni",
    "__ARM_FEATURE_DOTPROD": "asimddp",
    "__ARM_FEATURE_SVE": "sve",
    "__ARM_FEATURE_SVE2": "sve2",
}
"""A compiler's macro -> Linux's word. Only what a compiler may pick by itself for float, int16 and int32."""


def features_here() -> frozenset[str] | None:
    """What this machine's processor has, in Linux's words; None where the system does not tell."""
    try:
        lines = CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return None
    told = (line.partition(":") for line in lines)
    return next((frozenset(words.split()) for key, _, words in told if key.strip() in ("flags", "Features")), None)


def needs_of(target: str, macros: str) -> list[str]:
    """What a library for a target needs. macros: as the compiler defines them for this machine, read for `native`."""
    if target != "native":
        return list(X86_64_V3) if target == "x86-64-v3" else []
    defined = {line.split()[1] for line in macros.splitlines() if line.startswith("#define ")}
    here = features_here()
    # What the system does not list here could not be looked for where the library goes.
    return sorted(word for macro, word in MACROS.items() if macro in defined and (here is None or word in here))


def refuse_processor(what: str, needs: Iterable[str], target: str) -> None:
    """Raises SettingError naming what the processor lacks of what a library needs."""
    here = features_here()
    if here is None or not (missing := sorted(set(needs) - here)):
        return
    do = "build it here" if target != "native" else "build it here, or there with --target x86-64-v3"
    raise SettingError(f"{what}: needs a processor with {', '.join(missing)}, which this one has not; {do}.")
