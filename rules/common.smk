# Names that several rule files share. These are models, shards, wildcard patterns, and what an experiment adds to a run.


wildcard_constraints:
    base="[A-Za-z0-9._-]+",
    model="[A-Za-z0-9._-]+",
    method="[a-z_]+",
    shard="[0-9]+",
    perturbation="text|position|feature",


# Every model with weights of its own, each checkpoint of a series among them: {name: its entry}.
BASES = with_weights(config["models"])

# Every measured model, a control right after its own: {name: random seed, or None for weights as trained}.
MEASURED = measured_models(config["models"])
MODELS = {model: own.random_seed for model, own in MEASURED.items()}

# The series that are trained here: {series: (name of its entry, seed)}.
TRAINED = {
    series: (name, seed)
    for name, entry in config["models"].items()
    if entry["source"] == TRAIN
    for series, seed in series_in(name, entry).items()
}

# Models with pre-RoPE queries and keys, and models with logits only (no features, no mechanism).
ROTARY = [model for model in MODELS if config["models"][entry_of(model)]["capture"] == "features"]
ROTARY_BASES = [model for model in ROTARY if not is_control(model)]
CAPTURED = [model for model in MODELS if model not in ROTARY]

# Options shared by every rule that runs a model.
RUN = config["run"]

# What a job of such a rule takes of this machine is its GPU, which has room for one model, and `auto` is the first of
# several. So one job at a time runs a model, unless `--resources gpu=2` lets two share it. On a cluster, the profile says
# what to ask for.
ON_GPU = {}
if workflow.resource_settings.nodes is None and RUN["device"] not in ("cpu", "mps") and gpu_here():
    ON_GPU = {"gpu": 1}
    if "gpu" not in workflow.resource_settings.resources:
        workflow.register_resource("gpu", 1)

# Which logits are written: all, sample (the first sequence of each shard) or none.
KEEP = config["logits"]["keep"]

SHARD_SIZE = config["sequences"]["shard"]
SHARDS = [f"{i:04d}" for i in range(math.ceil(config["sequences"]["count"] / SHARD_SIZE))]

# The experiments that `all` makes: the fit of every model, and of the others, which need queries and keys before
# rotation, those that the configuration names.
CHOSEN = ["fit", *(config["experiments"] if ROTARY else [])]


def latest(models):
    """Those models, of each series its last checkpoint alone: its course has figures of its own."""
    last = {series_of(model): model for model in models}
    return [model for model in models if series_of(model) is None or last[series_of(model)] == model]


class Figure:
    """A figure, drawn by the function of its name in its experiment's figures.py.

    inputs: the function's files, by argument; label: what the report calls it, `{model}` among it for a figure of
    each of the models `each`; shown: the format in the report; options: the function's other arguments, of which
    `models` are those that it draws, as `latest` has them.
    """

    def __init__(self, inputs, label, each=None, shown="svg", **options):
        self.inputs, self.label, self.shown = inputs, label, shown
        self.each = None if each is None else latest(each)
        self.options = options | ({"models": latest(options["models"])} if "models" in options else {})

    def path(self, name, kind):
        """Its file, with a wildcard if there is one a model."""
        return f"results/figures/{name}{'' if self.each is None else '-{model}'}.{kind}"

    def log(self, name, kind):
        """Where its rule, plot_NAME, logs."""
        return f"logs/plot_{name}.{kind}" if self.each is None else f"logs/plot_{name}/{{model}}.{kind}"

    def files(self, name):
        """Its files in the format of the report."""
        path = self.path(name, self.shown)
        return [path] if self.each is None else expand(path, model=self.each)

    def pages(self, name):
        """Its pages in the report."""
        return [
            Page(self.label if model is None else self.label.format(model=model), name, file, model)
            for file, model in zip(self.files(name), self.each or [None])
        ]


class Page:
    """A table or a figure as a page of the report.

    label: what the report calls it; caption: the file report/CAPTION.rst; source: what is shown, a CSV table or a figure;
    model: the one that the caption names, if there is a figure of each.
    """

    def __init__(self, label, caption, source, model=None):
        self.label, self.caption, self.source, self.model = label, caption, source, model
        self.kind = " (table)" if source.endswith(".csv") else ""
        self.path = f"results/pages/{caption}{'' if model is None else f'-{model}'}.html"


class Experiment:
    """What an experiment adds to a run.

    tables: name -> what the report calls it, the main one first; figure_tables: what figures are drawn from; stages: name
    in triaxis.duckdb -> files; large: the stages with a row a token or a pair, or more, which the database shows and does
    not hold; figures: name -> Figure; others: further files, in the manifest; times: those tables, stages and figures
    that no two runs have alike, and no manifest.
    """

    def __init__(self, category, tables, stages, figures, figure_tables=(), large=(), others=(), times=()):
        self.category, self.tables, self.figure_tables = category, tables, figure_tables
        self.stages, self.large, self.figures = stages, large, figures
        self.others, self.times = others, times

    def pages(self):
        """Its pages in the report: the main table, the figures, the other tables."""
        tables = [
            Page(label, f"{name}_table", f"results/tables/{name}.csv")
            for name, label in {**self.tables, **(self.times or {"tables": {}})["tables"]}.items()
        ]
        figures = [page for name, drawn in self.figures.items() for page in drawn.pages(name)]
        return [*tables[:1], *figures, *tables[1:]]


# Name -> Experiment; each rule file adds its own.
EXPERIMENTS = {}


def base_of(model):
    """The model whose tokenizer, tokens and files a model has: its own, or those of what it is the control of."""
    return MEASURED[model].base


def split_of(base):
    """The file that says which documents a model is measured on, if it is trained on the others."""
    return [f"results/splits/model={entry_of(base)}/split.parquet"] if series_of(base) in TRAINED else []


def record_of(wildcards):
    return kept_here(f"resources/models/{base_of(wildcards.model)}.json")


def kept_here(path):
    """Keep local: it sits beside weights or texts that no rule declares."""
    return local(path) if workflow.storage_settings.default_storage_provider else path


def one_of(models):
    """A wildcard's constraint: one of these names, or nothing if there are none (without a question mark, which would
    cut the URL of a file in a storage backend)."""
    return "|".join(map(re.escape, models)) or r"\b\B"


def shards_of(stage, models=MODELS):
    """All files of a stage, for all models or those named."""
    return [f"results/{stage}/model={model}/shard-{shard}.parquet" for model in models for shard in SHARDS]


def csv_of(tables):
    return [f"results/tables/{table}.csv" for table in tables]


def outputs_of(name):
    """What a target of an experiment's name makes: its tables and figures."""
    own = EXPERIMENTS[name]
    return csv_of(own.tables) + [file for figure, one in own.figures.items() for file in one.files(figure)]


def training_of(series):
    """How a series is trained here, the section of its entry."""
    return config["models"][TRAINED[series][0]]["training"]


def training_digest(series):
    """A digest of what makes the weights of a series, the documents apart."""
    made_of = [training_of(series), TRAINED[series][1], RUN["device"], code_hash("scripts/train_model.py")]
    return provenance.digest(made_of)


def trained_of(wildcards):
    """What train_model writes of a series. Steps that are added train it again, to the same weights: to a step that was
    recorded from the same training, it is no newer."""
    path = kept_here(f"resources/training/{wildcards.series}.json")
    record = Path(f"resources/models/{wildcards.series}.step{wildcards.step}.json")
    same = record.is_file() and json.loads(record.read_text()).get("training") == training_digest(wildcards.series)
    return ancient(path) if same else path


def digest_of(*patterns):
    """A digest of files of the project: they count by their content, wherever the project lies."""
    found = {file for pattern in patterns for file in PROJECT.glob(pattern)}
    files = sorted(file for file in found if file.is_file() and not file.name.startswith("."))
    return provenance.digest([[file.relative_to(PROJECT).as_posix(), file.read_bytes().hex()] for file in files])


def made_by(model):
    """A file whose metadata say on what the model ran."""
    stage = "features" if model in ROTARY else "logits" if KEEP == "all" else "sums"
    return f"results/{stage}/model={model}/shard-0000.parquet"


def explored(model):
    """The files of a model that the explorer is made of, by stage; empty where there are none."""
    rotary = model in ROTARY
    of_heads = rotary and "heads" in CHOSEN
    first = {stage: f"results/{stage}/model={model}/shard-0000.parquet" for stage in ("sequences", "features", "rope")}
    return {
        "sequences": [first["sequences"]],
        "fits": shards_of("fits", [model]),
        "components": shards_of("components", [model]),
        "heads": [f"results/heads/model={model}/heads.parquet"] if of_heads else [],
        "patterns": shards_of("patterns", [model]) if rotary and {"mechanism", "heads"} & set(CHOSEN) else [],
        "features": [first["features"]] if rotary else [],
        "rope": [first["rope"]] if rotary else [],
    }


def storage_options():
    """What tells a second Snakemake where this one keeps its files, if not here."""
    provider, prefix = (getattr(workflow.storage_settings, f"default_storage_{key}") for key in ("provider", "prefix"))
    return ["--default-storage-provider", provider, "--default-storage-prefix", prefix] if provider else []


def growing(amount):
    """A resource that grows with each attempt, for executors that retry: a cluster kills what asked for too little."""
    return lambda wildcards, attempt: amount * attempt


def by_length(amount, cell_bytes, most=None):
    """As `growing`, in MB, for what also holds matrices: `cell_bytes` for each pair of two tokens of a sequence, or for
    `most` of these pairs."""
    pairs = config["sequences"]["length"] ** 2
    return growing(amount + math.ceil(cell_bytes * min(pairs, most or pairs) / 2**20))


def by_tokens(amount, token_bytes):
    """As `growing`, in MB, for what also holds vectors: `token_bytes` for each token of a sequence."""
    return growing(amount + math.ceil(token_bytes * config["sequences"]["length"] / 2**20))


def check_targets(jobs):
    """End with one line if a target is asked for that is made of queries and keys before rotation, and there are none."""
    asked = set(EXPERIMENTS) & {job.rule.name for job in jobs}
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
