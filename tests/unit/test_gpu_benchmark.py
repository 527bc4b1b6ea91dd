"""benchmarks/gpu.py on the CPU, at tiny sizes, with torch, transformers, numpy and what these need alone."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[2]
BENCHMARK = PROJECT / "benchmarks" / "gpu.py"
ALLOWED = ("torch", "transformers", "numpy")

RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import torch
from benchmarks import gpu

sizes = gpu.LLAMA_3B | {"vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
rows = gpu.measure(torch.device("cpu"), gpu.Plan(sizes, (32, 64), 1), cores=3)
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"rows": rows, "modules": modules}))
"""


def needed_by(names: tuple[str, ...]) -> set[str]:
    """These distributions and all that they need, extras apart."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        found.add(name)
        wanted = map(Requirement, distribution(name).requires or [])
        todo += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A folder of packages that holds those alone."""
    folder = tmp_path_factory.mktemp("site-packages")
    for name in needed_by(ALLOWED):
        own = distribution(name)
        for top in {file.parts[0] for file in own.files or []} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(own.locate_file(top))
    return folder


def run(bare: Path, *words: str) -> subprocess.CompletedProcess:
    # -S: without the environment's own packages.
    environment = os.environ | {"PYTHONPATH": str(bare), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run([sys.executable, "-S", *words], env=environment, capture_output=True, text=True, check=False)


def test_it_measures_with_torch_transformers_and_numpy_alone(bare):
    result = run(bare, "-c", RUN, str(PROJECT))
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout.splitlines()[-1])
    assert not {"pyarrow", "duckdb", "pydantic", "psutil", "scipy", "accelerate"} & set(told["modules"])
    rows = told["rows"]
    assert [what for what, _ in rows if what.startswith("extraction")] == [
        "extraction / forward pass without the output head (4 sequences of 32)",
        "extraction / forward pass without the output head (2 sequences of 64)",
    ]
    assert [what.partition(":")[0] for what, _ in rows if "CPU cores / device" in what] == [
        "fit of a layer, all axes and held out",
        "additivity of a layer, all queries, keys and distances",
    ]
    # Each way gave the same numbers, head by head.
    apart = [float(re.search(r"within (\S+)$", measured)[1]) for what, measured in rows if "cores" in what]
    assert len(apart) == 2 and max(apart) < 1e-9


def test_without_a_gpu_it_says_so_in_one_line_and_fails(bare):
    table = PROJECT / "benchmarks" / "gpu.md"
    before = table.read_bytes() if table.exists() else None
    result = run(bare, str(BENCHMARK))
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1 and "GPU" in result.stderr
    assert (table.read_bytes() if table.exists() else None) == before
