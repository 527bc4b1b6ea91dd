"""What a rerun does: only what it must."""

import os
import time

STAGES = {"sample_sequences", "extract_features", "dump_logits", "sum_logits", "fit_axes"}


def test_a_second_run_has_nothing_to_do(finished):
    assert finished.dry().nothing


def test_a_touched_file_reruns_nothing(copy_of_finished):
    later = time.time() + 5
    for path in [*copy_of_finished.folder.rglob("*.py"), *(copy_of_finished.folder / "results").rglob("*.parquet")]:
        os.utime(path, (later, later))
    for path in ["config/tiny.yaml", "resources/corpus.json", "tiny-corpus/speech-0.txt", "rules/fits.smk"]:
        os.utime(copy_of_finished.folder / path, (later, later))
    assert copy_of_finished.dry().nothing


def test_a_change_of_plotting_code_reruns_plots_only(copy_of_finished):
    copy_of_finished.edit("scripts/triaxis/report/style.py", "WIDTH = 7.0", "WIDTH = 6.5")
    rules = copy_of_finished.dry().rules
    assert {"plot_heads", "plot_axes", "plot_distance", "plot_matrices"} <= set(rules)
    assert not STAGES & set(rules)
    assert "tabulate_fits" not in rules


def test_a_change_of_one_plot_script_reruns_that_plot(copy_of_finished):
    copy_of_finished.edit("scripts/plot_heads.py", "r of the three-axis fit", "r of the fit")
    rules = copy_of_finished.dry().rules
    assert {rule for rule in rules if rule.startswith("plot_")} == {"plot_heads"}


def test_a_change_of_the_fit_reruns_from_the_fit(copy_of_finished):
    copy_of_finished.edit("scripts/triaxis/fit/axes.py", "PRIME = 2**31 - 1", "PRIME = int(2**31 - 1)")
    rules = copy_of_finished.dry().rules
    assert {"sum_logits", "fit_axes", "tabulate_fits"} <= set(rules)
    assert not {"dump_logits", "extract_features"} & set(rules)


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
