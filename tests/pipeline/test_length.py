"""The stage of lengths in real runs: in every run its short version, by its own target the long one."""

import csv
import json

import duckdb
import pytest

STAGES = ["sequences", "losses", "attention", "passkeys", "components", "outputs", "costs", "distances", "clouds"]


def table(folder, name):
    with (folder / f"results/tables/{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_method_has_its_rows_at_every_length(finished):
    rows = table(finished.folder, "length")
    methods = ["plain", "lm_infinite", "inf_llm", "inf_llm_published", "yarn", "linear", "dynamic"]
    assert [(row["model"], row["method"], row["length"]) for row in rows] == [
        ("tiny", method, length) for method in methods for length in ("32", "48", "96")
    ]
    assert {row["training_length_is"] for row in rows} == {"an override"}
    assert all(float(row["loss"]) > 0 and 0 <= float(row["outlier_share"]) <= 1 for row in rows)
    assert [bool(row["error_beyond"]) for row in rows[:6]] == [False, False, True, False, False, False]
    assert len(table(finished.folder, "length_costs")) == 21


def test_its_stages_are_views_and_its_times_are_in_no_manifest(finished):
    with duckdb.connect(str(finished.folder / "results/triaxis.duckdb"), read_only=True) as connection:
        names = {row[0] for row in connection.sql("SELECT view_name FROM duckdb_views()").fetchall()}
    assert {f"length_{stage}" for stage in STAGES} | {"length"} <= names
    artefacts = json.loads((finished.folder / "results/manifest.json").read_text())["artefacts"]
    own = [path for path in artefacts if "length" in path]
    assert any("outputs" in path for path in own) and any("length_clouds" in path for path in own)
    assert not [path for path in own if "cost" in path]


def test_a_change_of_one_methods_options_runs_that_method_only(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "lm_infinite: {n_global: 2}", "lm_infinite: {n_global: 3}")
    again = copy_of_finished.dry("length").rules
    assert again["run_length"] == 1 and "fetch_model" not in again


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lengths: [32, 48, 96]", "lengths: [32, 6400]", "length.lengths 6400 is too long: 1 sequences need 6400"),
        ("training_length: 48", "training_length: 16", "length.lengths' holds none within length.training_length 16"),
        ("lm_infinite: {n_global: 2}", "lm_infinite: {n_local: 64}", "n_local' is 64, longer than"),
    ],
)
def test_what_cannot_be_is_one_line(copy_of_finished, old, new, message):
    copy_of_finished.edit("config/tiny.yaml", old, new)
    run = copy_of_finished.run("results/tables/length.csv")
    assert run.status != 0
    assert message in run.output
    assert "Traceback" not in run.output
