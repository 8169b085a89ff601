"""Peak memory of one inference.

On a CPU: the largest resident set of the process while the function runs, with all that lies in it: interpreter,
PyTorch, weights, activations, workspaces. That is what a machine must have to run the model this way, and for a small
net nearly all of it is PyTorch. On a CUDA device: the most that PyTorch's tensors occupied, weights included, without
the driver's own.

python -m prunelle.measure.memory MODULE:FUNCTION JSON_ARGUMENTS   is the child that `peak_memory_fresh` starts.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch

from prunelle.errors import MeasurementError, SettingError

RESET_PEAK = "5"  # proc_pid_clear_refs(5): sets VmHWM back to the present resident set


def peak_memory(run: Callable[[], object], device: str | torch.device = "cpu") -> int:
    """Bytes at the highest point while `run` runs, this process's or, on CUDA, this process's tensors'.

    Where the kernel cannot set the peak back (not Linux, or /proc read-only) it is the peak since the process began.
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    can_reset = _reset_peak()
    run()
    return _resident_peak() if can_reset else _lifetime_peak()


def peak_memory_fresh(make_run: Callable[..., Callable[[], object]], *arguments: str | int) -> int:
    """Bytes at the highest point of one call in a new process, where nothing else has left its memory.

    make_run: a function at the top of a module; called there with `arguments`, it loads and returns what to run. What
    it needed only for loading is not counted where the kernel can set the peak back.
    Raises SettingError when a new process could not find make_run, MeasurementError when the child fails.
    """
    module, name = make_run.__module__, make_run.__qualname__
    if module == "__main__" or "." in name or "<" in name:
        raise SettingError(f"peak memory: {module}.{name} must be a function at the top of an importable module.")
    command = [sys.executable, "-m", "prunelle.measure.memory", f"{module}:{name}", json.dumps(arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.run(command, env=environment, capture_output=True, text=True)
    if child.returncode:
        reason = (child.stderr.strip().splitlines() or ["no message"])[-1]
        raise MeasurementError(f"peak memory: the child process ended with code {child.returncode} ({reason}).")
    return int(child.stdout.strip().splitlines()[-1])


def _reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def _resident_peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return _lifetime_peak()


def _lifetime_peak() -> int:
    try:
        import resource
    except ImportError as error:  # Windows
        raise MeasurementError(
            "peak memory: this system has neither /proc nor getrusage; it is not measured."
        ) from error
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(place: str, arguments: str) -> None:
    module, name = place.split(":")
    run = getattr(import_module(module), name)(*json.loads(arguments))
    print(peak_memory(run))


if __name__ == "__main__":
    main(*sys.argv[1:])
