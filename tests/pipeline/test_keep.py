"""Fits without written logits, and fits of models without rotation."""

import csv
import json

import duckdb
import numpy as np

from pipeline import tiny
from pipeline.test_incremental import EXPERIMENTS

FITS = """
SELECT r, r2, adjusted_r2, heldout_r FROM read_parquet('{}/results/fits/model=tiny/*.parquet')
ORDER BY sequence, layer, head, axes
"""


def fits(workspace) -> np.ndarray:
    return np.stack(list(duckdb.sql(FITS.format(workspace.folder)).fetchnumpy().values()))


def components(workspace) -> np.ndarray:
    files = f"{workspace.folder}/results/components/model=tiny/*.parquet"
    sql = f"SELECT value FROM read_parquet('{files}') ORDER BY sequence, layer, head, axis, index"
    return duckdb.sql(sql).fetchnumpy()["value"]


def headline(workspace) -> dict[str, dict[str, str]]:
    with open(workspace.folder / "results/tables/headline.csv") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


def test_without_written_logits_the_fits_are_the_same(finished, workspace):
    tiny.make_unrotated_model(workspace.folder / "tiny-gpt2")
    entry = "  gpt2:\n    source: path:tiny-gpt2\n    capture: logits\n    random_control: false\n"
    workspace.edit("config/tiny.yaml", "\ncorpus:", f"{entry}\ncorpus:")
    workspace.edit("config/tiny.yaml", "fits:", "logits:\n  keep: none\n\nfits:")
    run = workspace.run("results/tables/headline.tex")
    assert run.status == 0, run.output
    assert (run.rules["fit_features"], run.rules["sum_captured"], run.rules["fit_axes"]) == (4, 2, 2)
    assert not (workspace.folder / "results/logits").exists()
    assert [path.name for path in (workspace.folder / "results/sums").iterdir()] == ["model=gpt2"]
    np.testing.assert_allclose(fits(workspace), fits(finished), rtol=0, atol=1e-6)
    np.testing.assert_allclose(components(workspace), components(finished), rtol=0, atol=1e-6)
    rows = headline(workspace)
    assert {model: row["mechanism"] for model, row in rows.items()} == {
        **dict.fromkeys(["tiny", "tiny-random"], "measured"),
        "gpt2": "not applicable",
    }
    assert rows["gpt2"]["r_additive"] == "" and 0 < float(rows["gpt2"]["mean_r"]) < 1
    assert "n/a" in (workspace.folder / "results/tables/headline.tex").read_text()
    assert workspace.dry("results/tables/headline.tex").nothing


def test_a_model_without_rotation_alone_gets_the_fit_and_its_figures(workspace):
    tiny.make_unrotated_model(workspace.folder / "tiny-model")
    workspace.edit("config/tiny.yaml", "path:tiny-model", "path:tiny-model\n    capture: logits")
    workspace.edit("config/tiny.yaml", "fits:", "logits:\n  keep: sample\n\nfits:")
    refused = workspace.run()
    assert refused.status != 0 and "Job stats" not in refused.output
    assert "config key 'experiments' names length, surgery, tolerance, made of queries and keys" in refused.output
    workspace.edit("config/tiny.yaml", EXPERIMENTS, "experiments: [mechanism]")
    run = workspace.run()
    assert run.status == 0, run.output
    assert run.rules["sum_captured"] == run.rules["capture_logits"] == 4
    assert not {"extract_features", "measure_mechanism", "tabulate_mechanism"} & set(run.rules)
    files = f"{workspace.folder}/results/logits/*/*.parquet"
    kept = duckdb.sql(f"SELECT DISTINCT model, sequence FROM read_parquet('{files}') ORDER BY ALL").fetchall()
    assert kept == [("tiny", 0), ("tiny", 2), ("tiny-random", 0), ("tiny-random", 2)]
    assert (workspace.folder / "results/figures/matrices-tiny.png").exists()
    manifest = json.loads((workspace.folder / "results/manifest.json").read_text())
    assert manifest["models"]["tiny"]["device"] == "cpu"
    refused = workspace.run("surgery")
    assert refused.status != 0
    assert [line for line in refused.output.splitlines() if "surgery cannot be made" in line]


def test_a_model_without_rotation_is_told_how_it_can_be_measured(workspace):
    tiny.make_unrotated_model(workspace.folder / "tiny-model")
    run = workspace.run("results/features/model=tiny/shard-0000.parquet")
    assert run.status != 0
    (line,) = [line for line in run.output.splitlines() if line.startswith("ERROR:")]
    assert "type 'gpt2'" in line and "capture: logits" in line


PREFIXES = """
SELECT prefix, sequence, layer, head, axes, r, adjusted_r2, heldout_r
FROM read_parquet('{}/results/fits/model=tiny/*.parquet') ORDER BY ALL
"""


def test_first_tokens_are_fitted_too_and_change_nothing_else(finished, workspace):
    """By way of written logits, and of features alone."""
    workspace.edit("config/tiny.yaml", EXPERIMENTS, "experiments: []")
    workspace.edit("config/tiny.yaml", "fits:", "fits:\n  prefixes: [16, 32, 20]  # 32 is the whole sequence")
    targets = ["results/tables/prefixes.csv", "results/tables/headline.csv", "results/figures/prefixes.svg"]
    run = workspace.run(*targets)
    assert run.status == 0, run.output
    with open(workspace.folder / "results/tables/prefixes.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["prefix"]) for row in rows] == [
        (model, prefix) for model in ("tiny", "tiny-random") for prefix in ("16", "20", "32")
    ]
    whole = headline(workspace)["tiny"]
    assert rows[2]["mean_r"] == whole["mean_r"] == headline(finished)["tiny"]["mean_r"]
    assert rows[0]["training_length"] == "48" and rows[0]["mean_r_additive"] == ""
    np.testing.assert_array_equal(components(workspace), components(finished))
    written = duckdb.sql(PREFIXES.format(workspace.folder)).fetchnumpy()
    workspace.edit("config/tiny.yaml", "\nfits:", "\nlogits:\n  keep: none\n\nfits:")
    run = workspace.run(*targets)
    assert run.status == 0, run.output
    assert run.rules["fit_features"] == 4
    straight = duckdb.sql(PREFIXES.format(workspace.folder)).fetchnumpy()
    for name in ("prefix", "sequence", "layer", "head", "axes"):
        np.testing.assert_array_equal(straight[name], written[name])
    for name in ("r", "adjusted_r2", "heldout_r"):
        np.testing.assert_allclose(straight[name], written[name], rtol=0, atol=1e-6)
    assert workspace.dry(*targets).nothing
