"""The tasks in a real run: their items, rows, table and figure, and what a user is told."""

import csv
import json

import duckdb
import numpy as np
import pytest

from pipeline import tiny
from pipeline.conftest import Workspace
from pipeline.test_bad_input import complaint
from pipeline.test_incremental import EXPERIMENTS, SHOWN

QUESTION = {"input": "what layer", "context": " ".join(tiny.WORDS * 3), "answers": ["head", "the head"]}


def write_questions(workspace: Workspace, *rows: dict) -> None:
    (workspace.folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose corpus has sentences, in which the target `tasks` has run, LongBench's questions among them."""
    folder = tmp_path_factory.mktemp("asked")
    tiny.make_model(folder / "tiny-model", max_position_embeddings=512)
    (folder / "tiny-corpus").mkdir()
    generator = np.random.default_rng(0)
    for number in range(4):
        sentences = [" ".join(generator.choice(tiny.WORDS, 8)) + "." for _ in range(30)]
        (folder / f"tiny-corpus/speech-{number}.txt").write_text(" ".join(sentences))
    workspace = Workspace(folder)
    write_questions(workspace, QUESTION, QUESTION | {"input": "what pair"})
    workspace.edit(
        "config/tiny.yaml",
        "\ntasks:\n",
        "\ntasks:\n  longbench: {source: 'path:questions.jsonl', items: 2, length: 400, new_tokens: 3}\n",
    )
    workspace.edit("config/tiny.yaml", EXPERIMENTS, "experiments: [tasks]")
    run = workspace.run()
    assert run.status == 0, run.output
    return workspace


def test_every_task_has_its_rows_and_its_line_in_the_table(asked):
    with duckdb.connect() as connection:
        counts = connection.sql(
            f"SELECT model, task, count(*) FROM read_parquet('{asked.folder}/results/tasks/**/*.parquet', "
            "hive_partitioning = true) GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    conditions = {
        "tiny": 3 * 3,
        "tiny-random": 3 * 2,
    }  # perturbations, and fractions with 0; a control's are the first and last
    items = {"cloze": 3, "longbench": 2, "passkey": 1}
    expected = [(model, task, conditions[model] * count) for model in conditions for task, count in items.items()]
    assert counts == expected
    with (asked.folder / "results/tables/tasks.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * sum(conditions.values())
    for row in rows:
        assert (row["chosen"] == "") == (row["task"] == "longbench")
        assert 0 <= float(row["accuracy"]) <= 1
    for suffix in ("svg", "pdf", "png"):
        assert (asked.folder / f"results/figures/tasks-tiny.{suffix}").stat().st_size > 1000


def test_a_second_run_has_nothing_to_do_and_another_fraction_makes_no_item_anew(asked):
    assert asked.dry("tasks").nothing
    asked.edit("config/tiny.yaml", "fractions: [0.1, 1]", "fractions: [0.2, 1]")
    rules = asked.dry("tasks").rules
    asked.edit("config/tiny.yaml", "fractions: [0.2, 1]", "fractions: [0.1, 1]")
    assert rules == {"run_tasks": 3, "tabulate_tasks": 1, "plot_tasks": 1, "tasks": 1}


def test_a_new_column_of_the_tasks_reruns_their_rules_only(asked):
    path = asked.folder / "scripts/triaxis/tasks/schema.py"
    before = path.read_text()
    path.write_text(f"{before}\nCHANGED = 1\n")
    rules = set(asked.dry().rules)
    path.write_text(before)
    assert {"build_items", "run_tasks", "tabulate_tasks"} <= rules
    assert rules <= {"build_items", "run_tasks", "tabulate_tasks", "plot_tasks", *SHOWN}


def test_the_tasks_are_in_the_report_the_database_and_the_manifest(asked):
    artefacts = json.loads((asked.folder / "results/manifest.json").read_text())["artefacts"]
    assert {"results/tables/tasks.csv", "results/figures/tasks-tiny.svg"} <= set(artefacts)
    assert not [path for path in artefacts if "mechanism" in path]
    assert "accuracy on tasks, tiny" in (asked.folder / "results/report.html").read_text()
    with duckdb.connect(str(asked.folder / "results/triaxis.duckdb"), read_only=True) as connection:
        assert connection.sql("SELECT count(*) FROM tasks").fetchall()[0][0] > 0
        assert connection.sql("SELECT count(*) FROM tables.tasks").fetchall()[0][0] > 0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("cloze:", "clozze:", ["'tasks.clozze'", "did you mean 'cloze'"]),
        ("depths: [0.5]", "depths: [1.5]", ["tasks.passkey.depths", "1.5", "maximum of 1"]),
        ("items: 3", "items: 3000", ["sentences with 12 tokens", "tasks.cloze asks for 3000"]),
        ("length: 96", "length: 20", ["tasks.passkey.length", "20", "minimum of 64"]),
    ],
)
def test_a_wrong_task_is_one_line(asked, old, new, words):
    task = "passkey" if "passkey" in words[0] else "cloze"
    asked.edit("config/tiny.yaml", old, new)
    run = asked.run(f"results/task_items/model=tiny/task={task}/items.parquet")
    asked.edit("config/tiny.yaml", new, old)
    line = complaint(run)
    assert all(word in line for word in words), line


def test_questions_without_their_fields_and_a_harness_that_is_not_there_are_one_line(asked):
    write_questions(asked, {"input": "what layer", "answers": ["head"]})
    line = complaint(asked.run("results/task_items/model=tiny/task=longbench/items.parquet"))
    write_questions(asked, QUESTION, QUESTION | {"input": "what pair"})
    assert "questions.jsonl, line 1 has no field 'context'" in line
    asked.edit("config/tiny.yaml", "\ntasks:\n", "\ntasks:\n  harness: {tasks: {lambada_openai: acc}}\n")
    line = complaint(asked.run("results/tasks/model=tiny/task=harness-lambada_openai/tasks.parquet"))
    assert "pip install lm_eval" in line
