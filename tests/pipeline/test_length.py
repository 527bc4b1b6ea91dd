"""The stage of lengths in real runs: in every run its short version, by its own target the long one."""

import csv
import json

import duckdb
import pytest

from triaxis.base.choices import LENGTH_METHODS

STAGES = ["sequences", "losses", "attention", "passkeys", "components", "outputs", "costs", "distances", "clouds"]


def table(folder, name):
    with (folder / f"results/tables/{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_method_has_its_rows_at_every_length(finished):
    rows = table(finished.folder, "length")
    methods = list(LENGTH_METHODS)
    assert [(row["model"], row["method"], row["length"]) for row in rows] == [
        ("tiny", method, length) for method in methods for length in ("32", "48", "96")
    ]
    assert {row["training_length_is"] for row in rows} == {"an override"}
    assert all(float(row["loss"]) > 0 and 0 <= float(row["outlier_share"]) <= 1 for row in rows)
    assert [bool(row["error_beyond"]) for row in rows[:6]] == [False, False, True, False, False, False]
    within = {row["method"]: row for row in rows if row["length"] == "48"}
    assert float(within["plain"]["rise"]) == 0
    for method in ("clipped", "thinned", "clipped_thinned"):  # plain within the training length, and past it not
        assert float(within[method]["rise"]) == pytest.approx(0, abs=1e-5)
    beyond = {row["method"]: float(row["keys"]) for row in rows if row["length"] == "96"}
    assert beyond["plain"] == beyond["clipped"] > 48 == beyond["thinned"] == beyond["clipped_thinned"]
    costs = table(finished.folder, "length_costs")
    assert len(costs) == 3 * len(methods)
    assert all(float(row["fastest"]) <= float(row["seconds"]) <= float(row["slowest"]) for row in costs)


def test_lengths_are_run_on_the_models_named_alone(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "  training_length: 48", "  models: [tiny-random]\n  training_length: 48")
    again = copy_of_finished.dry("length").rules
    assert again["run_length"] == len(LENGTH_METHODS) and again["compare_outputs"] == 1
    copy_of_finished.edit("config/tiny.yaml", "models: [tiny-random]", "models: [tiny]")
    assert "run_length" not in copy_of_finished.dry("length").rules


def test_its_stages_are_in_the_database_and_its_times_are_in_no_manifest(finished):
    with duckdb.connect(str(finished.folder / "results/triaxis.duckdb"), read_only=True) as connection:
        names = {name for (name,) in connection.sql("SELECT table_name FROM information_schema.tables").fetchall()}
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
        ("lengths: [32, 48, 96]", "lengths: [32, 6400]", "length.lengths 6400 is too long: the corpus"),
        (
            "sequences: 2\n  methods",
            "sequences: 5\n  methods",
            "fills 4 sequences of 96 tokens with documents of their",
        ),
        ("  training_length: 48", "  models: [small]\n  training_length: 48", "length.models' names 'small', which is"),
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
