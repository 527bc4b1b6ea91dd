"""Series of checkpoints and a model that is trained here, through the pipeline."""

import os
import shutil
import signal
import time
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.torch import load_file

from pipeline import tiny
from pipeline.conftest import Workspace
from pipeline.test_bad_input import complaint
from small_llama import SMALL_LLAMA
from triaxis.base import parquet, tables

TRAINING = {
    "architecture": SMALL_LLAMA,
    "length": 32,
    "batch": 4,
    "steps": 20,
    "heldout": 2,
}
SMALL = {"source": "train:", "steps": [0, 20], "seeds": [0, 1], "training": TRAINING}
LOCAL = {"source": "path:series/step-{step}", "steps": [0, 7], "random_control": True}


def configure(workspace: Workspace, models: dict, **sections: object) -> None:
    """Let the workspace measure `models` on short sequences of the tests' corpus."""
    config = yaml.safe_load((workspace.folder / "config/tiny.yaml").read_text())
    config |= {"models": models, "experiments": ["mechanism", "training"], "logits": {"keep": "none"}}
    config["sequences"] = {"count": 2, "length": 32, "per_document": 2, "shard": 2}
    config["length"] = {"lengths": [32, 128], "sequences": 2}
    (workspace.folder / "config/series.yaml").write_text(yaml.safe_dump(config | sections))
    workspace.configfile = "config/series.yaml"


def make_series(folder: Path, steps: list[int]) -> None:
    for step in steps:
        tiny.make_model(folder / f"series/step-{step}", initializer_range=0.02 * (step + 1))


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Workspace:
    """A workspace in which a series of folders and a model of two seeds were measured; tests only read or plan it."""
    folder = tmp_path_factory.mktemp("series")
    tiny.make_corpus(folder / "tiny-corpus", documents=6)
    make_series(folder, [0, 7, 9])
    workspace = Workspace(folder)
    configure(workspace, {"local": LOCAL, "small": SMALL})
    run = workspace.run()
    assert run.status == 0, run.output
    return workspace


MODELS = {
    **{"local.step0": ("local", 0), "local.step7": ("local", 7), "local-random": (None, None)},
    **{f"small.seed{seed}.step{step}": (f"small.seed{seed}", step) for seed in (0, 1) for step in (0, 20)},
}


def test_each_checkpoint_is_a_model_and_its_rows_say_of_which_series(measured, monkeypatch):
    monkeypatch.chdir(measured.folder)  # where the database's views of tables look for their files
    assert measured.dry().nothing
    for stage in ("sequences", "features", "fits", "patterns"):
        for model, (series, step) in MODELS.items():
            read = parquet.read_parquet(measured.folder / f"results/{stage}/model={model}/shard-0000.parquet")
            assert set(read["series"].to_pylist()) == {series} and set(read["step"].to_pylist()) == {step}
    with duckdb.connect(measured.folder / "results/triaxis.duckdb", read_only=True) as connection:
        found = connection.sql("SELECT model, series, step FROM tables.headline").fetchall()
    assert {model: (series, step) for model, series, step in found} == MODELS


def test_tables_and_figures_of_the_training_are_made(measured):
    folder = measured.folder / "results"
    rows = tables.from_csv(folder / "tables/training.csv")
    assert {row["model"] for row in rows} == set(MODELS) - {"local-random"}
    measures = {row["measure"] for row in rows}
    assert {"loss", "r distance+query+key", "adjusted_r2 key", "key_independence", "first_token_attention"} <= measures
    assert {row["series"] for row in tables.from_csv(folder / "tables/settling.csv")} == {
        *("local", "small.seed0", "small.seed1")
    }
    criteria = tables.from_csv(folder / "tables/criteria.csv")
    assert {(row["entry"], row["among"], row["cost"], row["checkpoints"]) for row in criteria} == {
        ("local", "all", "displacement_cost", 2),
        ("local", "later half", "displacement_cost", 1),
        ("small", "all", "displacement_cost", 4),
        ("small", "later half", "displacement_cost", 2),
    }
    curve = tables.from_csv(folder / "tables/training_loss.csv")
    assert {(row["series"], row["text"]) for row in curve} == {
        (f"small.seed{seed}", text) for seed in (0, 1) for text in ("training", "held out")
    }
    for figure in ("training-local.svg", "training-small.svg", "training_loss.svg", "criteria.svg"):
        assert (folder / "figures" / figure).exists(), figure
    assert not list((folder / "figures").glob("surface-*step0*")), "figures show the last checkpoint of a series"


def test_with_lengths_the_loss_past_the_training_length_is_measured_too(measured, tmp_path):
    shutil.copytree(measured.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
    workspace = Workspace(tmp_path)
    workspace.configfile = measured.configfile
    target = "results/flexibility/model=small.seed0.step20/flexibility.parquet"
    run = workspace.run("--config", "also=[length]", "--", target)
    assert run.status == 0, run.output
    assert set(run.rules) <= {"join_documents", "measure_flexibility"}, run.rules
    rows = parquet.read_parquet(tmp_path / target).to_pylist()
    assert {(row["text"], row["first"], row["tokens"]) for row in rows} == {
        ("as written", 1, 31),
        ("displaced", 1, 31),
        ("long", 1, 31),
        ("long", 64, 64),
    }


def test_a_trained_model_is_measured_on_held_out_documents_only_and_others_on_all(measured):
    split = pq.read_table(measured.folder / "results/splits/model=small/split.parquet")
    held_out = {row["document"] for row in split.to_pylist() if row["held_out"]}
    assert len(held_out) == 2 and len(split) == 6
    for model in MODELS:
        base = "local.step0" if model == "local-random" else model
        tokens = pq.read_table(measured.folder / f"results/tokens/model={base}/tokens.parquet", columns=["document"])
        read = pq.read_table(
            measured.folder / f"results/sequences/model={model}/shard-0000.parquet", columns=["document"]
        )
        known = set(tokens["document"].to_pylist())
        assert known == (held_out if model.startswith("small") else set(range(6)))
        assert set(read["document"].to_pylist()) <= known


def test_seeds_differ_and_training_changes_the_weights(measured):
    own = {
        path.relative_to(measured.folder / "resources/training").parent.as_posix(): load_file(path)["lm_head.weight"]
        for path in measured.folder.glob("resources/training/*/step-*/model.safetensors")
    }
    assert set(own) == {f"small.seed{seed}/step-{step}" for seed in (0, 1) for step in (0, 20)}
    values = list(own.values())
    assert all(not values[a].equal(values[b]) for a in range(4) for b in range(a))
    assert not list(measured.folder.glob("resources/training/*/.unfinished*"))


def jobs(run, rule: str) -> int:
    assert run.status == 0, run.output
    return run.rules.get(rule, 0)


@pytest.mark.parametrize(
    ("entry", "trained", "new"),
    [("local", 0, 1), ("small", 2, 2)],
    ids=["of a folder", "of a training"],
)
def test_a_step_that_is_added_runs_that_step_only(measured, entry, trained, new):
    models = {"local": dict(LOCAL), "small": dict(SMALL)}
    models[entry]["steps"] = [*models[entry]["steps"], 9]
    configure(measured, models)
    try:
        run = measured.dry()
    finally:
        configure(measured, {"local": LOCAL, "small": SMALL})
    assert jobs(run, "train_model") == trained
    for rule in ("tokenize_documents", "extract_features", "fit_features", "measure_mechanism", "measure_checkpoint"):
        assert jobs(run, rule) == new, rule
    assert jobs(run, "measure_flexibility") == new
    assert jobs(run, "fetch_model") + jobs(run, "record_checkpoint") == new
    assert jobs(run, "tabulate_training") == 1


def test_a_training_that_is_changed_measures_all_its_steps_again_and_no_other_model(measured):
    changed = SMALL | {"training": TRAINING | {"learning_rate": 0.01}}
    configure(measured, {"local": LOCAL, "small": changed})
    try:
        run = measured.dry()
    finally:
        configure(measured, {"local": LOCAL, "small": SMALL})
    assert jobs(run, "train_model") == 2 and jobs(run, "fetch_model") == 0
    for rule in ("record_checkpoint", "tokenize_documents", "extract_features", "measure_checkpoint"):
        assert jobs(run, rule) == 4, rule


def test_a_training_that_is_killed_goes_on_and_ends_with_the_same_weights(measured, tmp_path):
    """Here the whole run is killed, once a checkpoint is there; unit/training kills at given steps."""
    tiny.make_corpus(tmp_path / "tiny-corpus", documents=6)
    workspace = Workspace(tmp_path)
    configure(workspace, {"small": SMALL})
    target = "resources/training/small.seed0.json"
    process = workspace.start("--", target)
    try:
        deadline = time.time() + 300
        while process.poll() is None and not list(tmp_path.glob("resources/training/*/.unfinished-*/checkpoint-*")):
            assert time.time() < deadline
            time.sleep(0.01)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if any((tmp_path / ".snakemake/locks").glob("*")):
        assert workspace.run("--unlock").status == 0
    run = workspace.run("--", target)
    assert run.status == 0, run.output
    assert (tmp_path / target).read_bytes() == (measured.folder / target).read_bytes()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"architecture": {"model_type": "lama"}}, "training.architecture.model_type 'lama' is none that transformers"),
        ({"batch": 4000}, "fewer than the 4000 of one step (training.batch times training.accumulate)"),
        ({"heldout": 6}, "training.heldout is 6, but the corpus has 6 different documents"),
        ({"vocabulary": 5000}, "training.vocabulary is 5000, but the training documents give"),
    ],
)
def test_what_cannot_be_trained_is_one_line(tmp_path, changes, says):
    tiny.make_corpus(tmp_path / "tiny-corpus", documents=6)
    workspace = Workspace(tmp_path)
    configure(workspace, {"small": SMALL | {"training": TRAINING | changes}})
    assert says in complaint(workspace.run("--", "resources/training/small.seed0.json"))
    assert not (tmp_path / "resources/training/small.seed0.json").exists()
