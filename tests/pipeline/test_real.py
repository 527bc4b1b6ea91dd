"""The default configuration, on the real model and corpus, from text to report."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.models.llama import modeling_llama

from pipeline.conftest import PROJECT, Workspace

pytestmark = pytest.mark.real
MODEL = "smollm2-135m"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The default configuration, run to its end. Sources already fetched by `make run` are used as they are."""
    workspace = Workspace(tmp_path_factory.mktemp("real"), "config.yaml")
    if (PROJECT / "resources").exists():
        shutil.copytree(PROJECT / "resources", workspace.folder / "resources", copy_function=os.link)
    run = workspace.run()
    assert run.status == 0, run.output
    return workspace


def table(workspace: Workspace, name: str) -> list[dict[str, str]]:
    with (workspace.folder / "results/tables" / name).open() as file:
        return list(csv.DictReader(file))


def test_the_headline_is_what_independent_computations_gave(real):
    trained, random = table(real, "headline.csv")
    assert (trained["model"], random["model"]) == (MODEL, f"{MODEL}-random")
    assert int(trained["sequences"]) == 8
    assert float(trained["mean_r"]) == pytest.approx(0.881, abs=0.015)
    assert float(random["mean_r"]) == pytest.approx(0.89, abs=0.02)
    assert float(trained["null_r"]) == pytest.approx(np.sqrt((3 * 256 - 4) / (256 * 257 / 2 - 1)), abs=1e-6)
    assert float(trained["mean_r_low"]) < float(trained["mean_r"]) < float(trained["mean_r_high"])
    assert float(trained["random_r"]) == float(random["mean_r"])


@pytest.mark.parametrize(
    ("axes", "r"),
    [("distance+key", 0.771), ("query+key", 0.809), ("distance", 0.487), ("query", 0.476), ("key", 0.595)],
)
def test_each_combination_is_near_the_independent_computation(real, axes, r):
    rows = {(row["model"], row["axes"]): row for row in table(real, "axes.csv")}
    assert float(rows[MODEL, axes]["mean_r"]) == pytest.approx(r, abs=0.03)


def test_the_trained_model_has_heads_of_known_kinds_and_the_random_one_has_none(real):
    """Induction heads live in g and heads that look at the token before in f, as in no random model."""
    rows = table(real, "heads.csv")
    assert len(rows) == 2 * 30 * 9
    roles = {(row["model"], row["role"]) for row in rows}
    assert {(MODEL, "induction"), (MODEL, "previous_token"), (f"{MODEL}-random", "")} <= roles
    assert {role for model, role in roles if model != MODEL} == {""}
    share = {
        role: np.mean([float(row["g_share"]) for row in rows if row["role"] == role])
        for role in ("previous_token", "induction")
    }
    assert share["previous_token"] < 0.4 and share["induction"] > 0.7
    assert {row["class"] for row in rows} >= {"positional", "semantic", "mixed", "sink"}


def test_the_logits_are_the_models_own(real, monkeypatch):
    """Taken by an independent route: the eager attention of an unmodified run, recorded."""
    own = {}
    eager = modeling_llama.eager_attention_forward

    def record(module, query, key, value, mask, scaling, **options):
        repeated = modeling_llama.repeat_kv(key, module.num_key_value_groups)
        own[module.layer_idx] = (scaling * query @ repeated.mT)[0]
        return eager(module, query, key, value, mask, scaling=scaling, **options)

    monkeypatch.setattr(modeling_llama, "eager_attention_forward", record)
    folder = real.folder / "resources/models" / MODEL
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    shard = f"model={MODEL}/shard-0000.parquet"
    tokens = pq.read_table(real.folder / "results/sequences" / shard)["tokens"][0].as_py()
    with torch.inference_mode():
        model(torch.tensor([tokens]))
    dumped = pq.read_table(real.folder / "results/logits" / shard, filters=[("sequence", "=", 0)])
    query, key = np.tril_indices(256)
    values = dumped["logit"].to_numpy().reshape(30, 9, -1)
    for layer, logits in own.items():
        assert np.abs(values[layer] - logits[:, query, key].numpy()).max() < 1e-4, layer


def test_logits_cost_at_most_3_6_bytes_a_row(real):
    path = real.folder / f"results/logits/model={MODEL}/shard-0000.parquet"
    metadata = pq.ParquetFile(path).metadata
    assert metadata.num_rows == 8 * 30 * 9 * 256 * 257 // 2
    assert metadata.num_row_groups == 8 * 30
    assert path.stat().st_size / metadata.num_rows <= 3.6


def test_the_run_leaves_every_artefact_and_nothing_to_do(real):
    results = real.folder / "results"
    for name in ["report.html", "manifest.json", "triaxis.duckdb", "tables/headline.tex", "figures/heads.pdf"]:
        assert (results / name).stat().st_size > 0, name
    assert {Path(path).suffix for path in map(str, (results / "figures").iterdir())} == {".pdf", ".svg", ".png"}
    assert real.dry().nothing
