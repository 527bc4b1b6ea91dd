"""What a rerun does: only what it must."""

import os
import time

import pytest

from pipeline.conftest import Workspace

STAGES = {"sample_sequences", "extract_features", "dump_logits", "sum_logits", "fit_axes"}
# As config/tiny.yaml names them.
EXPERIMENTS = "experiments: [mechanism, heads, length, surgery, tolerance]"
# The rules of each experiment, its plots apart.
MECHANISM = {"measure_mechanism", "solve_expressivity", "tabulate_mechanism", "tabulate_headline"}
SURGERY = {"calibrate_surgery", "run_surgery", "tabulate_surgery", "run_bands", "tabulate_bands"}
TOLERANCE_HEADS = {"perturb_heads", "predict_heads", "tabulate_perturbed_heads"}
TOLERANCE = {"displace_tokens", "run_plain", "run_perturbed", "tabulate_tolerance", *TOLERANCE_HEADS}
LENGTH = {"join_documents", "run_length", "compare_outputs", "tabulate_length", "tabulate_costs"}
# What is made of other experiments too; the explorer shows what heads are.
DESCRIBED = {"describe_heads", "tabulate_heads", "build_explorer"}
# What predicts tokens, and what is made of that.
PREDICTS = {*SURGERY, *TOLERANCE, *LENGTH} - {"calibrate_surgery", "displace_tokens", "run_plain", "join_documents"}
SHOWN = {"write_pages", "render_report", "write_manifest", "build_database", "compile_paper"}
LENGTHS = ["loss", "clouds", "outliers", "attention", "components", "passkeys", "costs"]


def append(workspace: Workspace, module: str, code: str) -> None:
    path = workspace.folder / f"scripts/triaxis/{module}.py"
    path.write_text(f"{path.read_text()}\n\n{code}\n")


def test_a_second_run_has_nothing_to_do(finished):
    assert finished.dry().nothing


def test_a_touched_file_reruns_nothing(copy_of_finished):
    later = time.time() + 5
    for path in [*copy_of_finished.folder.rglob("*.py"), *(copy_of_finished.folder / "results").rglob("*.parquet")]:
        os.utime(path, (later, later))
    for path in ["config/tiny.yaml", "resources/corpus.json", "tiny-corpus/speech-0.txt", "rules/fit.smk"]:
        os.utime(copy_of_finished.folder / path, (later, later))
    assert copy_of_finished.dry().nothing


def plots(rules) -> set[str]:
    return {rule for rule in rules if rule.startswith("plot_")}


def test_a_change_of_the_figures_common_style_reruns_plots_only(copy_of_finished):
    copy_of_finished.edit("scripts/triaxis/report/style.py", "WIDTH = 7.0", "WIDTH = 6.5")
    rules = copy_of_finished.dry().rules
    assert len(plots(rules)) == 25
    assert set(rules) - plots(rules) == SHOWN - {"build_database"}


@pytest.mark.parametrize(
    ("experiment", "own"),
    [
        ("fit", {"heads", "axes", "matrices", "distance"}),
        ("mechanism", {"additive", "pairs", "contributions", "dummies", "surface"}),
        ("heads", {"classes", "least_additive", "interaction"}),
        ("surgery", {"surgery", "steps", "bands"}),
        ("tolerance", {"tolerance", "cosines", "predictors"}),
        ("length", {f"length_{name}" for name in LENGTHS}),
    ],
)
def test_a_change_of_an_experiments_figures_reruns_its_plots_and_what_shows_them(copy_of_finished, experiment, own):
    append(copy_of_finished, f"{experiment}/figures", "CHANGED = 1")
    rules = copy_of_finished.dry().rules
    assert set(rules) == {f"plot_{figure}" for figure in own} | SHOWN - {"build_database"}


@pytest.mark.parametrize("module", ["cells", "pages", "run_page"])
def test_a_change_of_how_tables_look_writes_the_pages_and_the_report_only(copy_of_finished, module):
    append(copy_of_finished, f"report/{module}", "CHANGED = 1")
    assert set(copy_of_finished.dry().rules) == {"write_pages", "render_report"}


@pytest.mark.parametrize(
    ("caption", "more"), [("headline_table", set()), ("heads", {"compile_paper", "write_manifest"})]
)
def test_a_change_of_a_caption_remakes_what_shows_it_and_draws_nothing(copy_of_finished, caption, more):
    """The paper has the captions of figures."""
    copy_of_finished.edit(f"report/{caption}.rst", " ", "  ")
    assert set(copy_of_finished.dry().rules) == {"write_pages", "render_report"} | more


def test_a_change_of_the_reports_opening_remakes_the_report_only(copy_of_finished):
    copy_of_finished.edit("report/workflow.rst", "takes real text", "takes a text")
    assert set(copy_of_finished.dry().rules) == {"render_report"}


@pytest.mark.parametrize("part", ["paper/paper.typ", "paper/sections/fit.typ", "paper/references.bib"])
def test_a_change_of_the_papers_text_sets_the_paper_and_writes_the_manifest_only(copy_of_finished, part):
    path = copy_of_finished.folder / part
    path.write_text(f"{path.read_text()}\n")
    assert set(copy_of_finished.dry().rules) == {"compile_paper", "write_manifest"}


@pytest.mark.parametrize(
    ("module", "least", "most"),
    [
        ("surgery/schema", {"run_surgery", "tabulate_surgery"}, SURGERY | DESCRIBED),
        ("tolerance/schema", {"run_perturbed", "tabulate_tolerance"}, TOLERANCE),
        ("length/schema", {"run_length", "tabulate_length"}, LENGTH),
        ("mechanism/schema", {"measure_mechanism", "tabulate_mechanism"}, MECHANISM | DESCRIBED | {"tabulate_bands"}),
        (
            "heads/schema",
            {"measure_heads", "score_prompts", *DESCRIBED},
            {"measure_heads", "score_prompts", *DESCRIBED},
        ),
        ("text/joined", {"join_documents", "run_length"}, LENGTH),
        ("model/head", {"run_surgery", "run_perturbed", "run_length"}, PREDICTS | DESCRIBED),
    ],
)
def test_an_edit_reruns_what_uses_it_and_no_more(copy_of_finished, module, least, most):
    append(copy_of_finished, module, "CHANGED = 1")
    rules = set(copy_of_finished.dry().rules)
    assert least <= rules
    assert rules - plots(rules) <= most | SHOWN


def test_comments_and_docstrings_rerun_nothing(copy_of_finished):
    for path in (copy_of_finished.folder / "scripts").rglob("*.py"):
        source = path.read_text()
        path.write_text(source.replace('"""', '"""Changed. ', 1) + "\n# changed\n")
    assert copy_of_finished.dry().nothing


def test_a_change_of_the_fit_reruns_from_the_fit(copy_of_finished):
    copy_of_finished.edit("scripts/triaxis/fit/axes.py", "MOST_STEPS = 500", "MOST_STEPS = 501")
    rules = copy_of_finished.dry().rules
    assert {"fit_axes", "tabulate_fits"} <= set(rules)
    assert not {"sum_logits", "dump_logits", "extract_features"} & set(rules)


def test_a_change_of_the_capture_reruns_the_gpu_stage(copy_of_finished):
    copy_of_finished.edit("scripts/triaxis/attention/layout.py", "PROBE_LENGTH = 8", "PROBE_LENGTH = 7")
    rules = copy_of_finished.dry().rules
    assert {"extract_features", "dump_logits", "sum_logits", "fit_axes"} <= set(rules)
    assert not {"fetch_model", "sample_sequences", "tokenize_documents"} & set(rules)


def test_more_sequences_run_the_new_shards_only(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "count: 4", "count: 6")
    run = copy_of_finished.dry()
    for stage in STAGES:
        assert run.rules[stage] == 2, stage  # one new shard for each of two models


def test_a_partial_shard_that_grows_is_the_only_old_one_to_run(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "count: 4", "count: 3")
    assert copy_of_finished.dry().rules["extract_features"] == 2  # the second shard of each model shrinks


def test_a_change_of_one_models_entry_reruns_that_model_only(copy_of_finished):
    entry = "  other:\n    source: path:tiny-model\n    random_control: false\n\ncorpus:"
    copy_of_finished.edit("config/tiny.yaml", "\ncorpus:", entry)
    run = copy_of_finished.dry()
    assert run.rules["extract_features"] == 2
    assert run.rules["fetch_model"] == 1
    assert "model=tiny/" not in "".join(
        line
        for line in run.output.splitlines(keepends=True)
        if line.strip().startswith("output:") and "features" in line
    )


def test_a_change_of_the_random_seed_reruns_the_control_only(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "source: path:tiny-model", "source: path:tiny-model\n    random_seed: 7")
    run = copy_of_finished.dry()
    assert run.rules["extract_features"] == 2
    assert "fetch_model" not in run.rules


def test_a_changed_document_reruns_from_the_corpus(copy_of_finished):
    (copy_of_finished.folder / "tiny-corpus/speech-0.txt").write_text("where what key query " * 40)
    rules = copy_of_finished.dry().rules
    assert {"fetch_corpus", "read_documents", "tokenize_documents"} | STAGES <= set(rules)
    assert "fetch_model" not in rules
