"""The most memory that a stretch of work took."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def watch_memory(device: torch.device) -> Callable[[], float | None]:
    """Start watching; the function returned says by how many MiB the peak since then exceeds the start.

    On CUDA: what torch allocated on the device. On the CPU: the process's resident memory, whose high-water mark Linux
    keeps and lets a process reset (proc(5), clear_refs 5). None where neither is to be had.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)

        def peak_on_device() -> float | None:
            torch.cuda.synchronize(device)
            return (torch.cuda.max_memory_allocated(device) - held) / 2**20

        return peak_on_device
    if device.type != "cpu":
        return lambda: None
    # What earlier work has freed but glibc still holds would be taken again unseen.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        RESET.write_text("5")
        start = _status("VmRSS")
        return lambda: max(_status("VmHWM") - start, 0.0)
    except (OSError, KeyError):  # no Linux, or none that lets a process do this
        return lambda: None


def _status(name: str) -> float:
    """A line of /proc/self/status, in MiB. Raises KeyError if there is none."""
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) / 1024
