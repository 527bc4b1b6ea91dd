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


def growing(amount):
    """A resource that grows with each attempt, for executors that retry: a cluster kills what asked for too little."""
    return lambda wildcards, attempt: amount * attempt


def check_partitions(jobs):
    """End with one line if a job is for a SLURM partition that is not there: sbatch would say so job by job."""
    wanted = {job.resources.slurm_partition: job.rule.name for job in jobs if job.resources.get("slurm_partition")}
    if not wanted or not which("sinfo"):
        return
    answer = subprocess.run(["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True)
    for partition, name in wanted.items():
        if answer.returncode == 0 and partition not in answer.stdout.split():
            found = ", ".join(sorted(set(answer.stdout.split())))
            sys.exit(
                f"ERROR: slurm_partition '{partition}', asked for by {name}, is not on this cluster, which has {found}; "
                "set it in profiles/slurm/profile.yaml"
            )
