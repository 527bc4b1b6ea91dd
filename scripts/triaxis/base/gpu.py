"""Whether a machine has a GPU, without torch, which takes longer to import than a workflow to plan."""

import os
from glob import glob

# NVIDIA's, AMD's, and what Windows' Linux has of either.
DEVICES = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg")


def gpu_here() -> bool:
    """Whether this machine has a GPU that a process of this one sees."""
    found = any(glob(pattern) for pattern in DEVICES)
    return found and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1")
