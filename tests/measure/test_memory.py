import sys
from collections.abc import Callable

import pytest
import torch

from prunelle.errors import MeasurementError, SettingError
from prunelle.measure.memory import peak_memory, peak_memory_fresh

MIB = 2**20
linux = pytest.mark.skipif(sys.platform != "linux", reason="the peak can be set back on Linux only")


def fill(mib: int) -> None:
    torch.ones(mib * MIB // 4)


def filling(mib: int) -> Callable[[], None]:
    return lambda: fill(mib)


def failing() -> Callable[[], None]:
    raise ValueError("no such model")


@linux
def test_counts_what_the_call_needed_and_forgets_earlier_peaks():
    before = peak_memory(filling(0))
    assert peak_memory(filling(256)) - before == pytest.approx(256 * MIB, rel=0.05)
    assert peak_memory(filling(0)) - before < 64 * MIB


@linux
def test_a_new_process_does_not_carry_what_this_one_holds():
    held = torch.ones(300 * MIB // 4)
    small, large = peak_memory_fresh(filling, 0), peak_memory_fresh(filling, 256)
    assert large - small == pytest.approx(256 * MIB, rel=0.05)
    assert peak_memory(filling(0)) - small > held.nbytes // 2


def test_a_child_that_fails_is_an_error_with_its_reason():
    with pytest.raises(MeasurementError, match=r"ended with code 1 \(ValueError: no such model\)"):
        peak_memory_fresh(failing)


def test_what_a_new_process_cannot_find_is_refused():
    with pytest.raises(SettingError, match="must be a function at the top of an importable module"):
        peak_memory_fresh(lambda: print)


@pytest.mark.gpu
def test_on_a_gpu_counts_tensors():
    assert peak_memory(lambda: torch.ones(256 * MIB // 4, device="cuda"), "cuda") >= 256 * MIB
