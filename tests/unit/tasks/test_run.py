"""Tasks run in every condition: rows, plain runs that are shared, generation, and the harness's requests."""

import sys
import types

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast

from triaxis.attention.layout import probe_layouts
from triaxis.base import parquet
from triaxis.base.choices import PERTURBATIONS
from triaxis.base.errors import UserError
from triaxis.base.stats import interval, mean
from triaxis.base.tables import from_csv, to_csv
from triaxis.tasks.branches import Answered, within_context
from triaxis.tasks.figures import plot_tasks
from triaxis.tasks.harness import context_item, import_harness, perturbed_model, run_harness
from triaxis.tasks.items import Item
from triaxis.tasks.run import Conditions, generate, judge, run_items
from triaxis.tasks.schema import TASKS
from triaxis.tasks.summary import by_condition
from triaxis.tolerance.displacement import STAYS, displace
from triaxis.tolerance.perturb import perturbing
from unit.tasks.test_branches import item, naively

TEXT = "In the garden of the old house many people were looking for the lost letter of the king. " * 3


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes alone, of which those of plain text are below the tiny models' 128 tokens."""
    return PreTrainedTokenizerFast(tokenizer_object=_bytes()._tokenizer)


def _bytes() -> ByteLevelBPETokenizer:
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator([TEXT], vocab_size=256)
    return bpe


def conditions(**changes) -> Conditions:
    return Conditions(
        **{"perturbations": PERTURBATIONS, "fractions": [0.0, 0.3, 1.0], "unit": "word", "window": 1, "seed": 0}
        | changes
    )


def test_an_item_is_judged_by_its_first_answer():
    def answer(*log_probabilities: float, greedy: bool = False) -> Answered:
        return Answered(np.array(log_probabilities), greedy)

    row = judge([answer(-1.0, -3.0, greedy=True), answer(-5.0), answer(-4.5, 0.0)])
    assert row == {"candidates": 3, "accuracy": 1.0, "chosen": 1.0, "log_probability": -2.0}
    assert judge([answer(-1.0, -3.0), answer(-3.9)])["chosen"] == 0
    two = judge([answer(-2.0), answer(-2.0)])
    assert two == {"candidates": 2, "accuracy": 0.0, "chosen": 0.0, "log_probability": -2.0}


@pytest.fixture
def rows(build_model, tokenizer) -> list[dict]:
    model = build_model("llama")
    items = [item(n) for n in range(5)]
    return run_items(model, probe_layouts(model), tokenizer, items, conditions(), batch_tokens=128).to_pylist()


def test_rows_are_one_an_item_and_condition_and_share_what_is_plain(rows):
    assert len(rows) == 5 * 3 * 3
    assert len({(row["item"], row["perturbation"], row["fraction"]) for row in rows}) == len(rows)
    found = {(row["item"], row["perturbation"], row["fraction"]): row for row in rows}
    for number in range(5):
        plain = [found[number, perturbation, 0.0] for perturbation in PERTURBATIONS]
        assert all({**row, "perturbation": ""} == {**plain[0], "perturbation": ""} for row in plain)
        assert plain[0]["moved_fraction"] == plain[0]["displacement"] == 0
        assert found[number, "text", 1.0]["moved_fraction"] > 0.5
        for fraction in (0.3, 1.0):
            assert len({(found[number, perturbation, fraction]["displacement"]) for perturbation in PERTURBATIONS}) == 1
    assert any(found[n, "text", 1.0]["log_probability"] != found[n, "text", 0.0]["log_probability"] for n in range(5))


def test_rows_hold_what_a_plain_run_of_each_answer_says(build_model, rows):
    model = build_model("llama")
    for row in rows:
        if row["fraction"] == 0:
            (log_probabilities, greedy), *others = naively(model, {}, item(row["item"]))
            assert row["log_probability"] == pytest.approx(log_probabilities.mean(), abs=1e-5)
            assert row["accuracy"] == greedy
            assert row["chosen"] == all(log_probabilities.sum() > other.sum() for other, _ in others)


def test_a_prompt_without_words_to_swap_is_plain_and_a_task_of_such_is_refused(build_model, tokenizer):
    model = build_model("llama")
    layouts = probe_layouts(model)
    still = Item(item(0).tokens, np.full(14, STAYS), range(0), item(0).answers)
    rows = run_items(model, layouts, tokenizer, [still, item(1)], conditions(), batch_tokens=128).to_pylist()
    own = [row for row in rows if row["item"] == 0]
    assert len({row["log_probability"] for row in own}) == 1 and not any(row["moved_fraction"] for row in own)
    with pytest.raises(UserError, match="no prompt of this task has two whole words"):
        run_items(model, layouts, tokenizer, [still], conditions(), batch_tokens=1)


# Generation


def slowly(model, layouts, one: Item, perturbation: str, displacement, count: int) -> list[int]:
    """Token by token, the whole text anew each time."""
    ids = torch.from_numpy(one.tokens).long()[None]
    for _ in range(count):
        with (
            torch.inference_mode(),
            perturbing(model, layouts, perturbation, lambda ids: [displacement.grown(ids.shape[1])]),
        ):
            logits = model(input_ids=ids, use_cache=False).logits
        ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
    return ids[0, len(one.tokens) :].tolist()


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_generation_is_greedy_under_the_perturbation(build_model, perturbation):
    model = build_model("llama", eos_token_id=None)
    layouts, one = probe_layouts(model), item(3)
    for fraction in (0.0, 1.0):
        own = within_context(one, displace(one.units("token"), fraction, 3, (0,)))
        found = generate(model, layouts, one.tokens, perturbation, own, 6)
        assert found.tolist() == slowly(model, layouts, one, perturbation, own, 6)
    assert generate(model, layouts, one.tokens, perturbation, None, 6).tolist() == slowly(
        model, layouts, one, perturbation, within_context(one, displace(one.words, 0, 1, (0,))), 6
    )


def test_questions_are_judged_by_f1_of_what_is_written(build_model, tokenizer):
    model = build_model("llama", eos_token_id=None)
    one = Item(item(2).tokens, item(2).words, item(2).context)
    layouts = probe_layouts(model)
    written = tokenizer.decode(generate(model, layouts, one.tokens, "text", None, 4))
    one.references.extend(["nothing of it", f"x{written} king"])
    table = run_items(model, layouts, tokenizer, [one], conditions(), batch_tokens=1, new_tokens=4)
    assert table.schema.equals(TASKS)
    for row in table.to_pylist():
        assert 0 <= row["accuracy"] <= 1 and row["chosen"] is None
        if row["fraction"] == 0:
            assert row["prediction"] == written


# The harness


class FakeHFLM:
    """What of lm_eval's HFLM is ours to use."""

    max_length = 200

    def __init__(self, pretrained, tokenizer, batch_size) -> None:
        self.tokenizer = tokenizer

    def ask(self, context: str, continuation: str) -> tuple[float, bool]:
        before, both = (self.tokenizer(text).input_ids for text in (context, context + continuation))
        return self._loglikelihood_tokens([((context, continuation), before, both[len(before) :])])[0]


@pytest.fixture
def fake_harness(monkeypatch):
    """A package lm_eval of one task, whose documents are continuations."""

    def simple_evaluate(model, tasks, limit, **_):
        documents = [(TEXT[:60].rsplit(" ", 1)[0], " garden"), (TEXT[:40].rsplit(" ", 1)[0], " king")][:limit]
        samples = []
        for number, document in enumerate(documents):
            log_probability, greedy = model.ask(*document)
            samples.append(
                {"doc_id": number, "metrics": ["acc", "nats"], "acc": float(greedy), "nats": log_probability}
            )
        return {"samples": {tasks[0]: samples}}

    package = types.ModuleType("lm_eval")
    package.simple_evaluate = simple_evaluate
    package.models = types.ModuleType("lm_eval.models")
    package.models.huggingface = types.ModuleType("lm_eval.models.huggingface")
    package.models.huggingface.HFLM = FakeHFLM
    package.models.huggingface.stop_sequences_criteria = lambda *_: None
    package.tasks = types.ModuleType("lm_eval.tasks")
    package.tasks.TaskManager = lambda include_path: types.SimpleNamespace(all_tasks=["continue"])
    for module in (package, package.models, package.models.huggingface, package.tasks):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return package


def test_a_harness_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(UserError, match=r"tasks.harness needs lm-evaluation-harness .* pip install lm_eval") as caught:
        import_harness()
    assert "\n" not in str(caught.value)


def test_the_harness_scores_continuations_of_perturbed_contexts(build_model, tokenizer, fake_harness):
    model = build_model("llama", vocab_size=256)
    layouts = probe_layouts(model)
    context, continuation = TEXT[:60].rsplit(" ", 1)[0], " garden"
    one = context_item(tokenizer, tokenizer(context).input_ids, context, tokenizer(continuation).input_ids)
    for perturbation in PERTURBATIONS:
        for fraction in (0.0, 1.0):
            lm = perturbed_model(model, layouts, tokenizer, conditions(), perturbation, fraction, 2)
            log_probability, greedy = lm.ask(context, continuation)
            ((expected, first),) = naively(model, layouts, one, perturbation, lm.displacements[0])
            assert log_probability == pytest.approx(expected.sum(), abs=1e-4) and greedy == first


def test_the_harness_rows_and_its_unknown_names(build_model, tokenizer, fake_harness):
    model = build_model("llama", vocab_size=256)
    options = {"limit": 2, "folder": None, "batch_tokens": 1}
    table = run_harness(model, probe_layouts(model), tokenizer, conditions(), "continue", "nats", **options)
    assert table.schema.equals(TASKS) and len(table) == 2 * 3 * 3
    found = {(row["item"], row["perturbation"], row["fraction"]): row["accuracy"] for row in table.to_pylist()}
    assert found[0, "text", 0.0] == found[0, "feature", 0.0] != found[0, "text", 1.0]
    with pytest.raises(UserError, match="knows no task 'contine'"):
        run_harness(model, {}, tokenizer, conditions(), "contine", "nats", **options)
    with pytest.raises(UserError, match="has no metric 'f1'; it has acc, nats"):
        run_harness(model, probe_layouts(model), tokenizer, conditions(), "continue", "f1", **options)


def test_a_context_that_was_cut_or_got_a_first_token_keeps_its_words(tokenizer):
    text = "the old garden"
    own = tokenizer(text).input_ids
    assert context_item(tokenizer, [1, *own], text).words.tolist()[0] == STAYS
    cut = context_item(tokenizer, own[5:], text)
    assert cut.words.tolist()[:2] == [STAYS] * 2 and len(set(cut.words.tolist())) == 2
    with pytest.raises(UserError, match="not tokenised as its text is"):
        context_item(tokenizer, own[::-1], text)


# The table and the figure


def test_the_table_is_means_over_items_with_intervals(tmp_path, build_model, tokenizer):
    model = build_model("llama", vocab_size=256)
    items = [item(n) for n in range(6)]
    files = []
    for name in ("tiny", "tiny-random"):
        table = run_items(model, probe_layouts(model), tokenizer, items, conditions(), batch_tokens=400)
        files.append(tmp_path / f"tasks/model={name}/task=cloze/tasks.parquet")
        parquet.write_parquet(files[-1], table, TASKS, {})
    rows = by_condition(files, ["tiny", "tiny-random"], ["cloze"], 200, 0)
    assert [(row["model"], row["perturbation"], row["fraction"]) for row in rows] == [
        (model, perturbation, fraction)
        for model in ("tiny", "tiny-random")
        for perturbation in PERTURBATIONS
        for fraction in (0.0, 0.3, 1.0)
    ]
    for row in rows:
        own = [
            r for r in table.to_pylist() if (r["perturbation"], r["fraction"]) == (row["perturbation"], row["fraction"])
        ]
        assert row["items"] == 6 and row["chance"] == 0.25
        for name in ("accuracy", "chosen"):
            assert row[name] == pytest.approx(np.mean([r[name] for r in own]))
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    (tmp_path / "tasks.csv").write_text(to_csv(rows))
    back = from_csv(tmp_path / "tasks.csv")
    assert [row["accuracy"] for row in back] == pytest.approx([row["accuracy"] for row in rows], abs=1e-6)
    figure = plot_tasks(back, "tiny", "tiny-random")
    upper, lower = figure.axes
    assert len(upper.containers) == len(lower.containers) == 3 and upper.get_title() == "cloze"
    assert lower.lines and any(np.allclose(line.get_ydata(), 0.25) for line in lower.lines)


def write_tasks(path, rows: list[dict]):
    parquet.write_parquet(path, pa.Table.from_pylist(rows, schema=TASKS), TASKS, {})
    return path


def some_rows(accuracy, chosen, candidates) -> list[dict]:
    return [
        {"item": number, "perturbation": "text", "fraction": 0.0}
        | {"accuracy": right, "chosen": taken, "candidates": offered}
        for number, (right, taken, offered) in enumerate(zip(accuracy, chosen, candidates, strict=True))
    ]


def test_chance_is_that_of_the_candidates_that_each_item_has(tmp_path):
    """A tokenizer may join some wrong answers with the text; they are not offered."""
    files = [
        write_tasks(
            tmp_path / f"tasks/model={model}/task=cloze/tasks.parquet", some_rows([1.0] * 5, [1.0] * 5, offered)
        )
        for model, offered in (("a", [10] * 5), ("m", [4, 4, 2, 1, 2]))
    ]
    files += [write_tasks(tmp_path / "tasks/model=m/task=longbench/t.parquet", some_rows([0.5], [None], [None]))]
    rows = by_condition(files, ["a", "m"], ["cloze", "longbench"], 200, 0)
    assert [row["chance"] for row in rows] == pytest.approx(
        [0.1, (1 / 4 + 1 / 4 + 1 / 2 + 1 + 1 / 2) / 5, np.nan], nan_ok=True
    )
    lines = plot_tasks(rows[:2], "m", None).axes[1].lines
    assert any(np.allclose(line.get_ydata(), 0.5) for line in lines)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_nothing_or_all_has_an_interval_of_some_width(tmp_path, share):
    file = write_tasks(tmp_path / "tasks/model=m/task=cloze/t.parquet", some_rows([share] * 10, [share] * 10, [4] * 10))
    (row,) = by_condition([file], ["m"], ["cloze"], 200, 0)
    for name in ("accuracy", "chosen"):
        assert (row[f"{name}_low"] == pytest.approx(0)) == (share == 0)
        # 3.84 / (10 + 3.84): Wilson's other end.
        assert row[f"{name}_high"] - row[f"{name}_low"] == pytest.approx(0.2775, abs=1e-4)


def test_scores_that_are_no_shares_are_resampled_and_few_items_have_no_interval(tmp_path):
    scores = [0.2, 0.4, 0.4, 0.9, 1.0]
    file = write_tasks(tmp_path / "tasks/model=m/task=longbench/t.parquet", some_rows(scores, [None] * 5, [None] * 5))
    (row,) = by_condition([file], ["m"], ["longbench"], 200, 0)
    assert (row["accuracy_low"], row["accuracy_high"]) == interval((np.array(scores),), mean, 200, 0)
    assert all(np.isnan(row[name]) for name in ("chosen", "chosen_low", "chosen_high", "chance"))
    write_tasks(file, some_rows([1.0] * 4, [None] * 4, [None] * 4))
    (row,) = by_condition([file], ["m"], ["longbench"], 200, 0)
    assert row["accuracy"] == 1 and np.isnan(row["accuracy_low"])
