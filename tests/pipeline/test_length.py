"""The stage of lengths in real runs: in every run its short version, by its own target the long one."""

import csv
import json

import duckdb
import pytest

STAGES = ["sequences", "losses", "attention", "passkeys", "components", "outputs", "costs", "distances", "clouds"]


def table(folder, name):
    with (folder / f"results/tables/{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_run_has_a_short_one_that_says_what_it_is(finished):
    rows = table(finished.folder, "length_short")
    assert [(row["model"], row["method"], row["length"]) for row in rows] == [
        ("tiny", method, length) for method in ("plain", "lm_infinite") for length in ("32", "64")
    ]
    assert {row["training_length_is"] for row in rows} == {"an override"}
    assert all(float(row["loss"]) > 0 and 0 <= float(row["outlier_share"]) <= 1 for row in rows)
    assert [bool(row["error_beyond"]) for row in rows] == [False, True, False, False]


def test_its_stages_are_views_and_its_times_are_in_no_manifest(finished):
    with duckdb.connect(str(finished.folder / "results/triaxis.duckdb"), read_only=True) as connection:
        names = {row[0] for row in connection.sql("SELECT view_name FROM duckdb_views()").fetchall()}
    assert {f"length_short_{stage}" for stage in STAGES} | {"length_short"} <= names
    artefacts = json.loads((finished.folder / "results/manifest.json").read_text())["artefacts"]
    own = [path for path in artefacts if "length_short" in path]
    assert any("outputs" in path for path in own) and any("length_short-clouds" in path for path in own)
    assert not [path for path in own if "cost" in path]


def test_the_target_runs_every_method(copy_of_finished):
    run = copy_of_finished.run("length")
    assert run.status == 0, run.output
    rows = table(copy_of_finished.folder, "length")
    methods = ["plain", "lm_infinite", "inf_llm", "inf_llm_published", "yarn", "linear", "dynamic"]
    assert [row["method"] for row in rows[::3]] == methods
    assert [row["length"] for row in rows[:3]] == ["32", "48", "96"]
    assert len(table(copy_of_finished.folder, "length_costs")) == 21
    assert copy_of_finished.dry("length").nothing
    copy_of_finished.edit("config/tiny.yaml", "lm_infinite: {n_global: 2}", "lm_infinite: {n_global: 3}")
    again = copy_of_finished.dry("length").rules
    assert again["run_length"] == 1 and "fetch_model" not in again


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lengths: [32, 64]", "lengths: [32, 6400]", "length.lengths 6400 is too long: 2 sequences need 12800"),
        ("training_length: 32", "training_length: 16", "are all beyond the training length of 16 tokens"),
        ("methods: [plain, lm_infinite]\n", "methods: [lm_infinite]\n", "config key 'length_short.methods'"),
        (
            "  bucket: 16\n  passkey: {lengths: []}\n",
            "  bucket: 16\n  passkey: {lengths: []}\n  lm_infinite: {n_local: 64}\n",
            "length_short.lm_infinite.n_local 64 is longer than the training length of 32",
        ),
    ],
)
def test_what_cannot_be_is_one_line(copy_of_finished, old, new, message):
    copy_of_finished.edit("config/tiny.yaml", old, new)
    run = copy_of_finished.run("results/tables/length_short.csv")
    assert run.status != 0
    assert message in run.output
    assert "Traceback" not in run.output
