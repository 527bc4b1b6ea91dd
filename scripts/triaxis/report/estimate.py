"""What a run will take, before it starts: rows and bytes of its stages, and the work of its jobs, from sizes alone.

A job's time is its work, as counted here, by what a unit of it took in a finished run. Work is counted by what each
job does most of: passes of a model by parameters and tokens, logits by cells, queries and keys by their numbers.
"""

from collections.abc import Mapping
from typing import Any

from triaxis.base.checkpoints import measured_models, series_in
from triaxis.base.names import entry_of, is_control, series_of
from triaxis.fit.combinations import COMBINATIONS
from triaxis.report.sizes import Size

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
# Rules that run models as trained, and no control; those of models of `capture: logits`; those of all models.
NO_CONTROLS = ("run_bands", "perturb_heads", "predict_heads")
OF_CAPTURED = ("capture_logits", "sum_captured")
OF_ALL = ("fit_axes",)


def stages_of(config: Mapping[str, Any], size: Size, logits_alone: bool = False) -> dict[str, tuple[int, float]]:
    """Stage -> rows and bytes of one measured model. Stages whose rows follow from the text or the model alone are
    left out. logits_alone: for a model of `capture: logits`."""
    count, length, shard = (config["sequences"][key] for key in ("count", "length", "shard"))
    layers, heads, lengths = _layers(config, size), _heads(config, size), _lengths(config)
    keep, shards, matrices = config["logits"]["keep"], -(-count // shard), count * layers * heads
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


def _layers(config: Mapping[str, Any], size: Size) -> int:
    """How many layers' queries and keys are kept."""
    return size.layers if config["features"]["layers"] == "all" else len(config["features"]["layers"])


def _heads(config: Mapping[str, Any], size: Size) -> int:
    """How many heads of a layer are fitted."""
    return size.heads if config["logits"]["heads"] == "all" else len(config["logits"]["heads"])


def _lengths(config: Mapping[str, Any]) -> list[int]:
    """The lengths that are fitted: that of a sequence, and its prefixes."""
    return [config["sequences"]["length"], *config["fits"]["prefixes"]]


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
    count, length, shard = (config["sequences"][key] for key in ("count", "length", "shard"))
    surgery, tolerance, long = (config[name] for name in ("surgery", "tolerance", "length"))
    token = float(size.parameters)  # the work of a pass, by the token
    layers, heads = _layers(config, size), _heads(config, size)
    matrices, every = count * layers * heads, count * layers * size.heads
    vectors, cells = sum(matrices * own for own in _lengths(config)), matrices * length * (length + 1) / 2
    sampled = -(-count // shard) * layers * heads * min(length * (length + 1) / 2, config["logits"]["sample_cells"])
    prompts, period = config["heads"]["prompts"], config["heads"]["period"]
    stepwise = len(surgery["stepwise"]) * size.layers * surgery["step_sequences"]
    conditions = _conditions(tolerance)
    return {
        "extract_features": token * count * length,
        "capture_logits": cells,
        "sum_captured": cells,
        "dump_logits": cells if config["logits"]["keep"] == "all" else sampled,
        "sum_logits": cells,
        "fit_axes": vectors,
        "fit_features": vectors * size.head_dim,
        "measure_mechanism": sum(every * own for own in _lengths(config)) * size.head_dim,
        "measure_heads": every * length * min(length, config["heads"]["queries"]),
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
        "run_tasks": token * _asked(config["tasks"]) * conditions,
        "measure_checkpoint": token * count * length,
        "measure_flexibility": token * tolerance["sequences"] * length,
    }


def _asked(tasks: Mapping[str, Any]) -> int:
    """Tokens that are asked of a model, of the tasks that need no network: those of each candidate."""
    cloze, passkey = tasks["cloze"], tasks["passkey"]
    asked = cloze["items"] * cloze["context"] if cloze else 0
    asked += passkey["items"] * passkey["length"] * len(passkey["depths"]) if passkey else 0
    return asked * tasks["candidates"]


def total_work(config: Mapping[str, Any], sizes: Mapping[str, Size]) -> dict[str, float]:
    """Rule -> its work in a whole run; sizes: of every measured model."""
    total: dict[str, float] = {}
    for model, size in sizes.items():
        for rule, work in work_of(config, size).items():
            if _has(rule, model, config):
                total[rule] = total.get(rule, 0) + work
    for name, entry in config["models"].items():
        if own := entry["training"]:
            first = next(size for model, size in sizes.items() if entry_of(model) == name)
            tokens = own["steps"] * own["batch"] * own["accumulate"] * own["length"] * len(series_in(name, entry))
            total["train_model"] = total.get("train_model", 0) + first.parameters * float(tokens)
    return total


def _has(rule: str, model: str, config: Mapping[str, Any]) -> bool:
    """Whether a run has this rule for this model."""
    captured = config["models"][entry_of(model)]["capture"] == "logits"
    if rule not in OF_ALL and captured != (rule in OF_CAPTURED):
        return False
    if rule == "run_length":
        return model in _long(config)
    return not (rule in NO_CONTROLS and is_control(model))


def _long(config: Mapping[str, Any]) -> list[str]:
    """The models that are run past their training length: those named, or all as trained, of a series the last."""
    if named := config["length"]["models"]:
        return list(named)
    models = [model for model in measured_models(config["models"]) if not is_control(model)]
    return list({series_of(model) or model: model for model in models}.values())
