# What several stages name: the models, the shards, and the wildcards' shapes.


wildcard_constraints:
    base="[A-Za-z0-9._-]+",
    model="[A-Za-z0-9._-]+",
    shard="[0-9]+",
    way="text|position|feature",


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


def taken_of(wildcards):
    """How many sequences of a shard are disturbed; of the last one all that are asked for, which may be too many."""
    left = config["tolerance"]["sequences"] - int(wildcards.shard) * SHARD_SIZE
    return left if wildcards.shard == SHARDS[-1] else min(SHARD_SIZE, left)


def displacements_of(wildcards):
    """A control's tokens change places as its model's do."""
    return f"results/displacements/model={base_of(wildcards)}/shard-{wildcards.shard}.parquet"


def ways_of(stage):
    """All files of a stage that has a file a way, for all models."""
    ways, last = config["tolerance"]["ways"], math.ceil(config["tolerance"]["sequences"] / SHARD_SIZE)
    pattern = f"results/{stage}/model={{model}}/way={{way}}/shard-{{shard}}.parquet"
    return expand(pattern, model=MODELS, way=ways, shard=SHARDS[:last])


def conditions_of(wildcards):
    """How a model's prompts are disturbed; a control, which guesses, by nothing and by the most."""
    options = config["tolerance"]
    conditions = {key: options[key] for key in ("ways", "unit", "window", "seed")}
    fractions = sorted({0.0, *map(float, options["fractions"])})
    return conditions | {
        "fractions": fractions if MODELS[wildcards.model] is None else [0.0, fractions[-1]],
        "layers": None if options["layers"] == "all" else options["layers"],
    }
