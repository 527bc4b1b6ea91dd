# What several stages name: the models, the shards, and the wildcards' shapes.


wildcard_constraints:
    base="[A-Za-z0-9._-]+",
    model="[A-Za-z0-9._-]+",
    shard="[0-9]+",


def control(base):
    return f"{base}-random"


# Every measured model, a control right after its own: {name: random seed, or None for weights as trained}.
MODELS = {}
for base, entry in config["models"].items():
    MODELS[base] = None
    if entry["random_control"]:
        MODELS[control(base)] = entry["random_seed"]

SHARD_SIZE = config["sequences"]["shard"]
SHARDS = [f"{i:04d}" for i in range(math.ceil(config["sequences"]["count"] / SHARD_SIZE))]


def base_of(wildcards):
    return wildcards.model.removesuffix("-random")


def record_of(wildcards):
    return f"resources/models/{base_of(wildcards)}.json"


def shards_of(stage, models=None):
    """All files of a stage, for all models or those named."""
    return expand(f"results/{stage}/model={{model}}/shard-{{shard}}.parquet", model=models or MODELS, shard=SHARDS)


def local_files(source):
    """The files of a path: source, so that Snakemake sees them change; none for other sources."""
    if not source.startswith("path:"):
        return []
    path = source.removeprefix("path:")
    found = glob(f"{path}/**" if Path(path).is_dir() else path, recursive=True)
    return sorted(file for file in found if Path(file).is_file())


def lock_file(source):
    return [config["lock"]] if config["lock"] and source.startswith("hub:") else []


def surgery_of(wildcards):
    """A control is operated as a whole only: its parts say nothing."""
    whole = {"stepwise": []} if MODELS[wildcards.model] is not None else {}
    return {key: value for key, value in config["surgery"].items() if key != "calibration"} | whole


def conditions_of(wildcards):
    """How a model's prompts are disturbed; a control, which guesses, by nothing and by the most."""
    conditions = {key: config["tolerance"][key] for key in ("ways", "unit", "window", "seed")}
    fractions = sorted({0.0, *map(float, config["tolerance"]["fractions"])})
    return conditions | {"fractions": fractions if MODELS[wildcards.model] is None else [0.0, fractions[-1]]}
