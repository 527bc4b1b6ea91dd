"""What a run will take, before it starts: rows and bytes of its stages, and the work of its jobs, from sizes alone.

A job's time is its work, as counted here, by what a unit of it took in a finished run. Work is counted by what each
job does most of: passes of a model by parameters and tokens, logits by cells, queries and keys by their numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from triaxis.base.checkpoints import measured_models
from triaxis.base.names import entry_of, is_control
from triaxis.fit.combinations import COMBINATIONS
from triaxis.model.size import parameters_of

# Bytes of a row beside its vector, as Parquet writes them (of the default run), and of a file beside its rows.
ROW_BYTES = {
    "sequences": 840,
    "features": 6,
    "rope": 175,
    "logits": 3.5,
    "sums": 36,
    "fits": 40,
    "components": 9.5,
    "additivity": 52,
    "dummies": 23,
    "patterns": 43,
    "head_attention": 55,
    "prompt_features": 6,
    "prompt_scores": 16,
    "heads": 740,
    "plain": 19,
    "tolerance": 19,
    "cosines": 19,
}
FILE_BYTES = 4096
# Seconds that any job takes before it works: a process, and what it imports. A job that took little more says nothing
# of the time of its work.
START, WORKED = 2.0, 5.0
# The rule that writes a stage.
WRITERS = {
    "sequences": "sample_sequences",
    "features": "extract_features",
    "rope": "extract_features",
    "logits": "dump_logits",
    "sums": "sum_logits",
    "fits": "fit_axes",
    "components": "fit_axes",
    "additivity": "measure_mechanism",
    "dummies": "measure_mechanism",
    "patterns": "measure_mechanism",
    "head_attention": "measure_heads",
    "prompt_features": "extract_prompts",
    "prompt_scores": "score_prompts",
    "heads": "describe_heads",
    "plain": "run_plain",
    "tolerance": "run_perturbed",
    "cosines": "run_perturbed",
}
# What runs models as trained, and no control.
NO_CONTROLS = ("run_bands", "perturb_heads", "predict_heads")


@dataclass(frozen=True)
class Size:
    """A model's layers, query heads, key heads, dimensions of a head, pairs that RoPE turns, width and parameters."""

    layers: int
    heads: int
    key_heads: int
    head_dim: int
    pairs: int
    width: int
    parameters: int


def size_of(config: PreTrainedConfig) -> Size:
    """The sizes of a model from its configuration alone: no weight is loaded or made."""
    text = config.get_text_config()
    heads = text.num_attention_heads
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // heads
    partial = (getattr(text, "rope_parameters", None) or {}).get("partial_rotary_factor") or 1
    return Size(
        layers=text.num_hidden_layers,
        heads=heads,
        key_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=head_dim,
        pairs=int(head_dim * partial) // 2,
        width=text.hidden_size,
        parameters=parameters_of(config),
    )


def measured_sizes(config: Mapping[str, Any], sizes: Mapping[str, Size]) -> dict[str, Size]:
    """The size of every measured model, controls too; sizes: that of each entry of the configuration."""
    return {model: sizes[entry_of(model)] for model in measured_models(config["models"])}


def stages_of(config: Mapping[str, Any], size: Size, logits_alone: bool = False) -> dict[str, tuple[int, float]]:
    """Stage -> rows and bytes of one measured model. Stages whose rows follow from the text or the model alone are
    left out. logits_alone: for a model of `capture: logits`."""
    count, length, shard = (config["sequences"][key] for key in ("count", "length", "shard"))
    layers = size.layers if config["features"]["layers"] == "all" else len(config["features"]["layers"])
    heads = size.heads if config["logits"]["heads"] == "all" else len(config["logits"]["heads"])
    keep, shards, matrices = config["logits"]["keep"], -(-count // shard), count * layers * heads
    lengths = [length, *config["fits"]["prefixes"]]
    rows: dict[str, int] = {"sequences": count}
    if keep == "all":
        rows["logits"] = matrices * length * (length + 1) // 2
    elif keep == "sample":
        rows["logits"] = shards * layers * heads * min(length * (length + 1) // 2, config["logits"]["sample_cells"])
    if keep == "all" or logits_alone:
        rows["sums"] = sum(matrices * (3 * own + 1) for own in lengths)
    rows |= {"fits": matrices * len(COMBINATIONS) * len(lengths), "components": matrices * 3 * length}
    if not logits_alone:
        rows |= {"features": count * layers * (size.heads + size.key_heads) * length, "rope": shards * layers}
        rows |= _of_features(config, size, layers)
    vectors = {"features": 4 * size.head_dim, "prompt_features": 4 * size.head_dim, "plain": 4 * size.width}
    files = {"heads": 1, "prompt_features": 1, "prompt_scores": 1}
    return {
        stage: (own, own * (ROW_BYTES[stage] + vectors.get(stage, 0)) + FILE_BYTES * files.get(stage, shards))
        for stage, own in rows.items()
    }


def _of_features(config: Mapping[str, Any], size: Size, layers: int) -> dict[str, int]:
    """The rows of what experiments make of queries and keys."""
    count, length = config["sequences"]["count"], config["sequences"]["length"]
    every, asked = count * layers * size.heads, config["experiments"]
    rows: dict[str, int] = {}
    if "mechanism" in asked or "heads" in asked:
        # Each query with and without the first token, and its null, which has that token.
        rows["additivity"] = every * (3 * length - 1 + sum(2 * own - 1 for own in config["fits"]["prefixes"]))
        rows |= {"dummies": every * config["dummies"]["distances"], "patterns": every * 2 * size.pairs}
    if "heads" in asked:
        prompts, tokens = config["heads"]["prompts"], 2 * config["heads"]["period"]
        rows |= {"head_attention": every, "heads": layers * size.heads}
        rows |= {
            "prompt_features": prompts * layers * (size.heads + size.key_heads) * tokens,
            "prompt_scores": prompts * layers * size.heads,
        }
    if "tolerance" in asked:
        own = config["tolerance"]
        passes = _conditions(own) * own["sequences"]
        rows |= {"plain": own["sequences"] * length * (size.layers + 1)}
        rows |= {"tolerance": passes * length, "cosines": passes * size.layers}
    return rows


def _conditions(tolerance: Mapping[str, Any]) -> int:
    """How often each sequence is perturbed; once not at all, whatever the fractions."""
    return len(tolerance["perturbations"]) * len({0, *tolerance["fractions"]})


def work_of(config: Mapping[str, Any], size: Size) -> dict[str, float]:
    """Rule -> its work for one measured model, in units of its own; rules that are not named take time by the job."""
    count, length = config["sequences"]["count"], config["sequences"]["length"]
    surgery, tolerance, tasks, long = (config[name] for name in ("surgery", "tolerance", "tasks", "length"))
    token = float(size.parameters)  # the work of a pass, by the token
    matrices = count * size.layers * size.heads
    vectors, cells = matrices * length, matrices * length * (length + 1) / 2
    prompts, period = config["heads"]["prompts"], config["heads"]["period"]
    stepwise = len(surgery["stepwise"]) * size.layers * surgery["step_sequences"]
    conditions = _conditions(tolerance)
    cloze, passkey = tasks["cloze"], tasks["passkey"]
    asked = cloze["items"] * cloze["context"] if cloze else 0
    asked += passkey["items"] * passkey["length"] * len(passkey["depths"]) if passkey else 0
    return {
        "extract_features": token * count * length,
        "capture_logits": cells,
        "sum_captured": cells,
        "dump_logits": cells,
        "sum_logits": cells,
        "fit_axes": vectors,
        "fit_features": vectors * size.head_dim,
        "measure_mechanism": vectors * size.head_dim,
        "measure_heads": vectors * min(length, config["heads"]["queries"]),
        "extract_prompts": token * prompts * 2 * period,
        "score_prompts": prompts * size.layers * size.heads * float(2 * period) ** 2,
        "calibrate_surgery": token * length * (surgery["calibration"] + surgery["selection"]),
        "run_surgery": token * length * (surgery["sequences"] + stepwise),
        "run_bands": token * length * surgery["sequences"] * (len(surgery["bands"]) + 1),
        "run_plain": token * length * tolerance["sequences"],
        "run_perturbed": token * length * tolerance["sequences"] * conditions,
        "perturb_heads": token * length * tolerance["head_sequences"] * size.layers * size.heads,
        "predict_heads": token * length * tolerance["head_sequences"],
        "run_length": token * long["sequences"] * sum(long["lengths"]) * len(long["methods"]),
        "run_tasks": token * asked * tasks["candidates"] * conditions,
    }


def total_work(config: Mapping[str, Any], sizes: Mapping[str, Size]) -> dict[str, float]:
    """Rule -> its work in a whole run; sizes: of every measured model."""
    total: dict[str, float] = {}
    for model, size in sizes.items():
        for rule, work in work_of(config, size).items():
            if not (rule in NO_CONTROLS and is_control(model)):
                total[rule] = total.get(rule, 0) + work
    return total


def rates_of(
    seconds: Mapping[str, list[float]], config: Mapping[str, Any], sizes: Mapping[str, Size]
) -> dict[str, float]:
    """Rule -> seconds by the unit of its work, or by the job, in a finished run; seconds: rule -> those of its jobs.

    Rules whose jobs hardly worked have no rate by their work.
    """
    total = total_work(config, sizes)
    rates = {rule: sum(own) / len(own) for rule, own in seconds.items()}
    return {
        rule: mean * len(seconds[rule]) / total[rule] if total.get(rule) else mean
        for rule, mean in rates.items()
        if rule not in total or mean >= WORKED
    }


def seconds_of(rule: str, jobs: int, total: Mapping[str, float], rates: Mapping[str, float]) -> float | None:
    """How long the jobs of a rule take, one after another; None if nothing is known of them."""
    if rule not in rates:
        return None
    return max(START * jobs, rates[rule] * total.get(rule, jobs))
