"""Perturbed order in a real run: every file, nothing twice, and what a user is told."""

import csv
import json

import duckdb
import pytest
from transformers import AutoTokenizer

from pipeline import tiny

# Side by side, not one after the other.
THREADS = ["--set-threads", "run_plain=1", "run_perturbed=1"]
FIGURES = {"tolerance", "cosines", "predictors-tiny"}


def test_every_perturbation_has_its_rows(finished):
    with duckdb.connect() as connection:
        rows = connection.sql(
            f"SELECT model, perturbation, fraction, count(*), count(DISTINCT sequence) FROM "
            f"read_parquet('{finished.folder}/results/tolerance/**/*.parquet', hive_partitioning = true) "
            "GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    perturbations = ("feature", "position", "text")
    assert rows == [
        (model, perturbation, fraction, 2 * 32, 2)
        for model in ("tiny", "tiny-random")
        for perturbation in perturbations
        for fraction in (0, 0.1, 1)
    ]


def test_the_tables_and_figures_are_there(finished):
    with (finished.folder / "results/tables/tolerance.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * 3
    assert all(float(row["ratio"]) == 1 for row in rows if float(row["fraction"]) == 0)
    with (finished.folder / "results/tables/tolerance_heads.csv").open() as file:
        assert [(row["model"], row["layer"], row["head"]) for row in csv.DictReader(file)] == [
            ("tiny", str(layer), head) for layer in range(2) for head in ("", "0", "1", "2", "3")
        ]
    with (finished.folder / "results/tables/tolerance_predictors.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 6
    assert {(row["unit"], row["units"]) for row in rows} == {("head", "8"), ("layer", "2")}
    figures = {path.name for path in (finished.folder / "results/figures").iterdir()}
    assert {f"{name}.{kind}" for name in FIGURES for kind in ("svg", "pdf", "png")} <= figures


def test_heads_are_predicted_from_sequences_that_are_not_measured(finished):
    with duckdb.connect() as connection:
        used = [
            connection.sql(
                f"SELECT DISTINCT sequence FROM '{finished.folder}/results/{stage}/model=tiny/heads.parquet'"
            ).fetchall()
            for stage in ("perturbed_heads", "predictors")
        ]
    assert used == [[(0,)], [(1,)]]


def test_heads_may_be_left_out(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "fractions: [0.1, 1]", "fractions: [0.1, 1]\n  head_sequences: 0")
    assert not {"perturb_heads", "predict_heads", "plot_predictors"} & set(copy_of_finished.dry().rules)
    targets = copy_of_finished.run("--dry-run", "--forceall", "tolerance")
    assert "tabulate_tolerance" in targets.output and "perturb_heads" not in targets.output


def test_a_lost_perturbation_is_run_alone(copy_of_finished):
    lost = copy_of_finished.folder / "results/tolerance/model=tiny/perturbation=text/shard-0000.parquet"
    content = lost.read_bytes()
    lost.unlink()
    (copy_of_finished.folder / "results/tables/tolerance.csv").unlink()
    rules = copy_of_finished.dry("tolerance").rules
    assert rules["run_perturbed"] == 1 and "run_plain" not in rules
    run = copy_of_finished.run("tolerance", *THREADS)
    assert run.status == 0, run.output
    assert lost.read_bytes() == content


def test_more_sequences_only_add_shards(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "  sequences: 2\n  fractions", "  sequences: 4\n  fractions")
    rules = copy_of_finished.dry("tolerance").rules
    assert (rules["displace_tokens"], rules["run_plain"], rules["run_perturbed"]) == (1, 2, 6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "fractions: [0.1, 1]",
            "fractions: [0.1, 1.5]",
            "'tolerance.fractions.1': 1.5 is greater than the maximum of 1",
        ),
        ("fractions: [0.1, 1]", "fractions: [0.1, -1]", "'tolerance.fractions.1': -1 is less than the minimum of 0"),
        (
            "fractions: [0.1, 1]",
            "perturbations: [texts]",
            "config key 'tolerance.perturbations.0': 'texts' is not one of",
        ),
        ("fractions: [0.1, 1]", "windows: 2", "config key 'tolerance.windows' is unknown; did you mean 'window'?"),
        ("sequences: 2\n  fractions", "sequences: 5\n  fractions", "'tolerance.sequences' is 5, more than"),
        ("fractions: [0.1, 1]", "head_sequences: 2", "'tolerance.head_sequences' is 2, and leaves none of the 2"),
        ("fractions: [0.1, 1]", "layers: [5]", "tolerance.layers [5] are out of range: the model has layers 0 to 1"),
    ],
)
def test_bad_input_is_one_line(copy_of_finished, old, new, message):
    copy_of_finished.edit("config/tiny.yaml", old, new)
    run = copy_of_finished.run("tolerance")
    assert run.status != 0
    assert message in run.output
    assert "Traceback" not in run.output


def test_a_text_without_word_boundaries_is_one_line_and_its_tokens_can_be_swapped(workspace):
    for path in (workspace.folder / "tiny-corpus").iterdir():
        path.write_text(path.read_text().replace(" ", ","))
    tokenizer = AutoTokenizer.from_pretrained(workspace.folder / "tiny-model")
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    backend["pre_tokenizer"] = {"type": "Punctuation", "behavior": "Removed"}
    (workspace.folder / "tiny-model/tokenizer.json").write_text(json.dumps(backend))
    target = "results/displacements/model=tiny/shard-0000.parquet"
    run = workspace.run(target)
    assert run.status != 0
    assert "the text has no two whole words, set apart by spaces" in run.output
    assert "tolerance.unit to token" in run.output and "Traceback" not in run.output
    assert not (workspace.folder / target).exists()
    workspace.edit("config/tiny.yaml", "  fractions: [0.1, 1]", "  fractions: [0.1, 1]\n  unit: token")
    run = workspace.run(target)
    assert run.status == 0, run.output


def test_a_table_that_changes_with_the_largest_position_is_one_line(workspace):
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    tiny.make_model(workspace.folder / "tiny-model", rope_parameters=rope)
    run = workspace.run("results/tolerance/model=tiny/perturbation=position/shard-0000.parquet")
    assert run.status != 0
    assert "a position table of type 'dynamic', which changes with the largest position" in run.output
    assert "Traceback" not in run.output
