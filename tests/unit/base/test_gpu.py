"""Whether a machine has a GPU is told from its devices, and from what a process may see of them."""

import pytest

from triaxis.base import gpu

CASES = [
    ([], None, False),
    (["nvidia0"], None, True),
    (["nvidia0"], "0", True),
    (["nvidia0"], "", False),
    (["nvidia0"], "-1", False),
    (["nvidiactl"], None, False),
]


@pytest.mark.parametrize(("devices", "visible", "expected"), CASES)
def test_a_gpu_is_one_that_a_process_sees(devices, visible, expected, tmp_path, monkeypatch):
    for name in devices:
        (tmp_path / name).touch()
    monkeypatch.setattr(gpu, "DEVICES", [str(tmp_path / "nvidia[0-9]*")])
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu.gpu_here() is expected
