"""The memory that a model needs, and what a stretch of work takes."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from triaxis.base.errors import UserError


def free_memory(device: torch.device | None) -> int:
    """Bytes that weights may fill: free on the GPU, or available to this process, its control group counted; for
    None, on all GPUs and the CPU together."""
    if device is None:
        gpus = [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
        return sum(map(free_memory, [*gpus, torch.device("cpu")]))
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    available = psutil.virtual_memory().available
    try:
        group = Path("/sys/fs/cgroup", Path("/proc/self/cgroup").read_text().strip().rpartition("::/")[2])
        limit, used = ((group / f"memory.{name}").read_text() for name in ("max", "current"))
        return min(available, int(limit) - int(used))
    except (OSError, ValueError):  # no control group, or one without a limit
        return available


def require_memory(config: PreTrainedConfig, dtype: torch.dtype, device: torch.device | None) -> None:
    """Raise UserError, before anything is loaded, if the weights of such a model do not fit on the device."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    need = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    if need > (free := free_memory(device)):
        raise UserError(
            f"a model of type '{config.model_type}' needs {need / 2**30:.1f} GiB for its weights in "
            f"{str(dtype).removeprefix('torch.')}, and {device or 'the sum of all devices'} has {free / 2**30:.1f} GiB "
            "free: take a machine with more, run.device spread, or run.dtype bfloat16"
        )


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
