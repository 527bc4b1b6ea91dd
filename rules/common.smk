# What several stages name: the models, the shards, and the wildcards' shapes.


wildcard_constraints:
    base="[A-Za-z0-9._-]+",
    model="[A-Za-z0-9._-]+",
    run="|_short",
    method="[a-z_]+",
    shard="[0-9]+",
    perturbation="text|position|feature",


def control(base):
    return f"{base}-random"


# Every measured model, a control right after its own: {name: random seed, or None for weights as trained}.
MODELS = {}
for base, entry in config["models"].items():
    MODELS[base] = None
    if entry["random_control"]:
        MODELS[control(base)] = entry["random_seed"]

# Models whose queries and keys are had before their rotation, and those of which only the logits are: these have no
# features, and so no mechanism.
ROTARY = [model for model in MODELS if config["models"][model.removesuffix("-random")]["capture"] == "features"]
ROTARY_BASES = [model for model in ROTARY if MODELS[model] is None]
CAPTURED = [model for model in MODELS if model not in ROTARY]

# What runs a model in `features` and would change a number elsewhere; its other keys are the extraction's own.
RUN = {key: config["features"][key] for key in ("device", "dtype", "batch")}

# Which logits are written: all, sample (the first sequence of each shard) or none.
KEEP = config["logits"]["keep"]

SHARD_SIZE = config["sequences"]["shard"]
SHARDS = [f"{i:04d}" for i in range(math.ceil(config["sequences"]["count"] / SHARD_SIZE))]


def base_of(wildcards):
    return wildcards.model.removesuffix("-random")


def kept_here(path):
    """A file beside which lies what is not listed (weights, texts), and which a storage backend therefore leaves here."""
    return local(path) if workflow.storage_settings.default_storage_provider else path


def record_of(wildcards):
    return kept_here(f"resources/models/{base_of(wildcards)}.json")


def one_of(models):
    """A wildcard's constraint: one of these names, or nothing if there are none (without a question mark, which would
    cut the URL of a file in a storage backend)."""
    return "|".join(map(re.escape, models)) or r"\b\B"


def shards_of(stage, models=MODELS):
    """All files of a stage, for all models or those named."""
    return [f"results/{stage}/model={model}/shard-{shard}.parquet" for model in models for shard in SHARDS]


def made_by(model):
    """A file whose metadata say on what the model ran."""
    stage = "features" if model in ROTARY else "logits" if KEEP == "all" else "sums"
    return f"results/{stage}/model={model}/shard-0000.parquet"


def storage_options():
    """What tells a second Snakemake where this one keeps its files, if not here."""
    provider, prefix = (getattr(workflow.storage_settings, f"default_storage_{key}") for key in ("provider", "prefix"))
    return ["--default-storage-provider", provider, "--default-storage-prefix", prefix] if provider else []


def surgery_of(wildcards):
    """A control is operated as a whole only: its parts say nothing."""
    whole = {"stepwise": []} if MODELS[wildcards.model] is not None else {}
    return {key: value for key, value in config["surgery"].items() if key != "calibration"} | whole


def growing(amount):
    """A resource that grows with each attempt, for executors that retry: a cluster kills what asked for too little."""
    return lambda wildcards, attempt: amount * attempt


def check_targets(jobs):
    """End with one line if a target is asked for that is made of queries and keys before rotation, and there are none."""
    asked = {"surgery", "tolerance", "tasks", "length"} & {job.rule.name for job in jobs}
    if asked and not ROTARY:
        sys.exit(
            f"ERROR: {', '.join(sorted(asked))} cannot be made: it takes queries and keys before rotation, and every model "
            "of this configuration has capture: logits"
        )


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


def run_of(wildcards):
    """`length` or `length_short`. The wildcard is what differs: a pattern results/{run} would be tried for every file."""
    return f"length{wildcards.run}"


def length_of(run, stage, model):
    """A file a method of one model's run at several lengths."""
    return expand(f"results/{run}/{stage}/model={model}/{{method}}.parquet", method=config[run]["methods"])


def all_lengths(run, stage):
    """The same of all models as trained; the losses of a control are those of guessing."""
    return [file for base in ROTARY_BASES for file in length_of(run, stage, base)]


def compared(run, stage):
    return expand(f"results/{run}/{stage}/model={{base}}/{stage}.parquet", base=ROTARY_BASES)


def length_files(run):
    """Every file of a run at several lengths that triaxis.duckdb shows."""
    files = expand(f"results/{run}/sequences/model={{base}}/sequences.parquet", base=ROTARY_BASES)
    files += [file for stage in [*LENGTH_STAGES, "costs"] for file in all_lengths(run, stage)]
    return files + [file for stage in ("distances", "clouds") for file in compared(run, stage)]


def length_options(wildcards):
    """What one method reads of its section: another method's options, or its being there, change nothing for it."""
    own = config[run_of(wildcards)]
    family = "inf_llm" if wildcards.method.startswith("inf_llm") else wildcards.method
    stretched = wildcards.method in ("yarn", "linear", "dynamic")
    others = {"methods", "lm_infinite", "inf_llm", "factor"} - {family, "factor" if stretched else family}
    return {key: value for key, value in own.items() if key not in others}


def taken_of(wildcards):
    """How many sequences of a shard are perturbed; of the last one all that are asked for, which may be too many."""
    left = config["tolerance"]["sequences"] - int(wildcards.shard) * SHARD_SIZE
    return left if wildcards.shard == SHARDS[-1] else min(SHARD_SIZE, left)


def displacements_of(wildcards):
    """A control's tokens change places as its model's do."""
    return f"results/displacements/model={base_of(wildcards)}/shard-{wildcards.shard}.parquet"


def perturbations_of(stage):
    """All files of a stage that has a file a perturbation, for all models."""
    perturbations, last = config["tolerance"]["perturbations"], math.ceil(config["tolerance"]["sequences"] / SHARD_SIZE)
    pattern = f"results/{stage}/model={{model}}/perturbation={{perturbation}}/shard-{{shard}}.parquet"
    return expand(pattern, model=ROTARY, perturbation=perturbations, shard=SHARDS[:last])


def conditions_of(wildcards):
    """How a model's prompts are perturbed; a control, which guesses, by nothing and by the most."""
    options = config["tolerance"]
    conditions = {key: options[key] for key in ("perturbations", "unit", "window", "seed")}
    fractions = sorted({0.0, *map(float, options["fractions"])})
    return conditions | {
        "fractions": fractions if MODELS[wildcards.model] is None else [0.0, fractions[-1]],
        "layers": None if options["layers"] == "all" else options["layers"],
    }
