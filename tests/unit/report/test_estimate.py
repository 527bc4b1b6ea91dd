"""Sizes of a model from its configuration, and times from work."""

import json
from pathlib import Path

import pytest
import yaml
from transformers import GPTNeoXConfig, LlamaConfig, LlamaForCausalLM

from triaxis.base.checkpoints import measured_models
from triaxis.base.config import resolve
from triaxis.base.errors import UserError
from triaxis.report import estimate
from triaxis.report.estimate_table import lines_of, table
from triaxis.report.rates import START, finished_rates, rates_of, seconds_of
from triaxis.report.sizes import Size, size_of, sizes_of

CONFIG = resolve(yaml.safe_load((Path(__file__).resolve().parents[3] / "config.yaml").read_text()))
LLAMA = LlamaConfig(
    vocab_size=17,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)


SIZE = Size(2, 4, 2, 8, 4, 32, 1000)


def test_sizes_are_those_of_the_model():
    weights = sum(weight.numel() for weight in LlamaForCausalLM(LLAMA).parameters())
    assert size_of(LLAMA) == Size(2, 4, 2, 8, 4, 32, weights)


def test_rope_may_turn_a_part_of_the_dimensions():
    config = GPTNeoXConfig(
        vocab_size=17, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    assert size_of(config).pairs == 4 and size_of(config).head_dim == 32


def test_logits_are_all_a_sample_or_none():
    def rows(keep: str) -> int | None:
        config = CONFIG | {"logits": CONFIG["logits"] | {"keep": keep}}
        return estimate.stages_of(config, SIZE).get("logits", (None, 0))[0]

    cells = 256 * 257 // 2
    assert rows("all") == 8 * 2 * 4 * cells and rows("sample") == 2 * 4 * cells and rows("none") is None


def test_a_finished_run_gives_back_its_own_times():
    sizes = {"mine": SIZE, "mine-random": SIZE}
    config = CONFIG | {"models": {"mine": CONFIG["models"]["smollm2-135m"]}}
    seconds = {"fit_axes": [30.0, 50.0], "plot_heads": [3.0], "sum_logits": [1.0, 1.0]}
    rates, work = rates_of(seconds, config, sizes), estimate.total_work(config, sizes)
    assert seconds_of("fit_axes", 2, work, rates) == pytest.approx(80)
    assert seconds_of("plot_heads", 4, work, rates) == pytest.approx(12)
    # Jobs of a second have said nothing of their work.
    assert seconds_of("sum_logits", 2, work, rates) is None
    more = estimate.total_work(config | {"sequences": CONFIG["sequences"] | {"count": 80}}, sizes)
    assert seconds_of("fit_axes", 20, more, rates) == pytest.approx(20 * START + 10 * (80 - 2 * START))


def test_work_is_counted_for_the_models_that_a_rule_has():
    entry = CONFIG["models"]["smollm2-135m"]
    series = entry | {"steps": [0, 8], "random_control": False}
    config = CONFIG | {"models": {"whole": entry, "alone": entry | {"capture": "logits"}, "series": series}}
    sizes = dict.fromkeys(measured_models(config["models"]), SIZE)
    one, total = estimate.work_of(config, SIZE), estimate.total_work(config, sizes)
    times = {rule: round(total[rule] / work, 6) for rule, work in one.items()}
    # Two with queries and keys, two captured, and two checkpoints.
    assert (times["fit_axes"], times["extract_features"], times["capture_logits"]) == (6, 4, 2)
    assert times["run_bands"] == 3
    # Lengths are run on models as trained, of a series on the last.
    named = {"length": CONFIG["length"] | {"models": ["whole-random"]}}
    assert estimate.total_work(config | named, sizes)["run_length"] == one["run_length"]
    assert set(estimate.total_work(config, sizes)) == set(one)


def test_training_is_counted_once_a_series():
    training = {"steps": 10, "batch": 3, "accumulate": 2, "length": 16}
    entry = CONFIG["models"]["smollm2-135m"] | {"source": "train:", "steps": [0, 10], "seeds": [0, 1]}
    config = CONFIG | {"models": {"small": entry | {"training": training, "random_control": False}}}
    sizes = dict.fromkeys(measured_models(config["models"]), SIZE)
    assert len(sizes) == 4 and estimate.total_work(config, sizes)["train_model"] == 2 * 1000 * 10 * 3 * 2 * 16


# Sizes of a configuration


def test_a_folder_says_its_size_and_a_model_that_has_none_is_named(tmp_path):
    LLAMA.save_pretrained(tmp_path)
    entry = CONFIG["models"]["smollm2-135m"] | {"source": f"path:{tmp_path}", "sha256": None}
    found = sizes_of(CONFIG | {"models": {"mine": entry}})
    assert found == {"mine": size_of(LLAMA), "mine-random": size_of(LLAMA)}
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"^models\.mine: no model can be loaded from .*: it has no config\.json$"):
        sizes_of(CONFIG | {"models": {"mine": entry}})


def test_a_model_that_is_trained_here_has_the_size_of_its_architecture():
    sizes = {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    training = {"architecture": sizes, "steps": 10}
    config = resolve(
        {
            "models": {"small": {"source": "train:", "steps": [0, 10], "training": training}},
            "corpus": {"source": "path:texts"},
        }
    )
    found = sizes_of(config)
    assert list(found) == ["small.step0", "small.step10"] and found["small.step0"].head_dim == 8


def test_a_model_that_a_run_has_fetched_is_not_fetched_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LLAMA.save_pretrained("resources/models/mine")
    source = "hub:nobody/nothing@main"
    Path("resources/models/mine.json").write_text(json.dumps({"source": source, "folder": "resources/models/mine"}))
    entry = CONFIG["models"]["smollm2-135m"] | {"source": source, "sha256": None, "random_control": False}
    assert sizes_of(CONFIG | {"models": {"mine": entry}}) == {"mine": size_of(LLAMA)}
    # Another model of the same name is not this one.
    other = entry | {"source": f"path:{tmp_path}/gone"}
    with pytest.raises(UserError, match="gone"):
        sizes_of(CONFIG | {"models": {"mine": other}})


# The rates of a finished run, and the table


def test_rates_are_read_from_manifest_and_logs(tmp_path):
    assert finished_rates(tmp_path) == {}
    LLAMA.save_pretrained(tmp_path / "model")
    entry = CONFIG["models"]["smollm2-135m"] | {"source": f"path:{tmp_path}/model", "sha256": None}
    config = CONFIG | {"models": {"mine": entry}}
    (tmp_path / "results").mkdir()
    (tmp_path / "results/manifest.json").write_text(json.dumps({"config": config}))
    for name, seconds in {"plot_heads.tsv": 2, "plot_surface/mine.tsv": 3, "plot_surface/other.tsv": 5}.items():
        file = tmp_path / "logs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\n{seconds}\t0:00:01\n")
    assert finished_rates(tmp_path) == {"plot_heads": 2, "plot_surface": 4}
    (tmp_path / "results/manifest.json").write_text(json.dumps({"config": config | {"gone": 1}}))
    assert finished_rates(tmp_path) == {}


def test_the_table_has_what_writes_a_stage_and_what_takes_long_and_says_what_it_does_not_know():
    config = CONFIG | {"models": {"mine": CONFIG["models"]["smollm2-135m"] | {"random_control": False}}}
    jobs = {"sample_sequences": 1, "capture_logits": 1, "train_model": 1, "plot_heads": 2, "plot_odd": 1}
    jobs |= dict.fromkeys(set(estimate.WRITERS.values()) - {"dump_logits"}, 1)
    rates = {"train_model": 7200.0, "plot_heads": 2.0, "sample_sequences": 1.0}
    lines = lines_of(config, {"mine": SIZE}, jobs, rates)
    assert lines["capture_logits"].rows == 8 * 2 * 4 * 256 * 257 // 2 and lines["plot_odd"].seconds is None
    told = table(lines, "a run").splitlines()
    assert told[1].split() == ["train_model", "1", "-", "-", "2.000"]
    (rest,) = [line.split() for line in told if line.startswith("all others")]
    assert rest == ["all", "others", "5", "-", "-", "0.001"]
    (whole,) = [line.split() for line in told if line.startswith("together")]
    assert int(whole[1]) == sum(jobs.values()) and whole[-1] == "2.001"
    assert "plot_odd" in told[-2] and "plot_heads" not in told[-2] and told[-1].endswith("at the rates of a run.")
