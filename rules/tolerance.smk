# What a model loses when order is perturbed, in three ways that share one displacement.

TOLERANCE = config["tolerance"]
# 0 is the plain run, which all others are compared with.
FRACTIONS = sorted({0.0, *map(float, TOLERANCE["fractions"])})
TOLERANCE_SHARDS = SHARDS[: math.ceil(TOLERANCE["sequences"] / SHARD_SIZE)]


def taken_of(wildcards):
    """How many sequences of a shard are perturbed."""
    return min(TOLERANCE["sequences"] - int(wildcards.shard) * SHARD_SIZE, SHARD_SIZE)


def displacements_of(wildcards):
    """A control's tokens change places as its model's do."""
    return f"results/displacements/model={base_of(wildcards.model)}/shard-{wildcards.shard}.parquet"


def tolerance_shards(stage, models=ROTARY):
    """All files of a stage that reads the sequences that are perturbed."""
    return [f"results/{stage}/model={model}/shard-{shard}.parquet" for model in models for shard in TOLERANCE_SHARDS]


def perturbed(stage):
    """All files of a stage that has a file a perturbation."""
    pattern = f"results/{stage}/model={{model}}/perturbation={{perturbation}}/shard-{{shard}}.parquet"
    return expand(pattern, model=ROTARY, perturbation=TOLERANCE["perturbations"], shard=TOLERANCE_SHARDS)


rule displace_tokens:
    input:
        sequences="results/sequences/model={base}/shard-{shard}.parquet",
        documents="results/documents.parquet",
        record=kept_here("resources/models/{base}.json"),
    output:
        "results/displacements/model={base}/shard-{shard}.parquet",
    log:
        "logs/displace_tokens/{base}-{shard}.log",
    benchmark:
        "logs/displace_tokens/{base}-{shard}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        **{key: TOLERANCE[key] for key in ("unit", "window", "seed")},
        code=code_hash("scripts/displace_tokens.py"),
        taken=taken_of,
        fractions=FRACTIONS,
    message:
        "Displacing tokens: {wildcards.base}, shard {wildcards.shard}"
    script:
        "../scripts/displace_tokens.py"


rule run_plain:
    input:
        sequences="results/sequences/model={model}/shard-{shard}.parquet",
        record=record_of,
    output:
        # Kept, so that a perturbation, or a fraction, that is added or lost is run alone; smaller than features/.
        "results/plain/model={model}/shard-{shard}.parquet",
    log:
        "logs/run_plain/{model}-{shard}.log",
    benchmark:
        "logs/run_plain/{model}-{shard}.tsv"
    conda:
        "../envs/gpu.yaml"
    # Many short passes: jobs side by side are faster than one on many threads.
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        **RUN,
        code=code_hash("scripts/run_plain.py"),
        random_seed=lambda wildcards: MODELS[wildcards.model],
        taken=taken_of,
    message:
        "Running unperturbed: {wildcards.model}, shard {wildcards.shard}"
    script:
        "../scripts/run_plain.py"


rule run_perturbed:
    input:
        sequences="results/sequences/model={model}/shard-{shard}.parquet",
        displacements=displacements_of,
        plain="results/plain/model={model}/shard-{shard}.parquet",
        record=record_of,
    output:
        tolerance="results/tolerance/model={model}/perturbation={perturbation}/shard-{shard}.parquet",
        cosines="results/cosines/model={model}/perturbation={perturbation}/shard-{shard}.parquet",
    log:
        "logs/run_perturbed/{model}-{perturbation}-{shard}.log",
    benchmark:
        "logs/run_perturbed/{model}-{perturbation}-{shard}.tsv"
    conda:
        "../envs/gpu.yaml"
    # Many short passes: jobs side by side are faster than one on many threads.
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        **RUN,
        code=code_hash("scripts/run_perturbed.py"),
        random_seed=lambda wildcards: MODELS[wildcards.model],
        taken=taken_of,
        seed=TOLERANCE["seed"],
        layers=lambda wildcards: TOLERANCE["layers"] if wildcards.perturbation == "feature" else "all",
    message:
        "Perturbing the {wildcards.perturbation}: {wildcards.model}, shard {wildcards.shard}"
    script:
        "../scripts/run_perturbed.py"


rule link_tolerance:
    input:
        features="results/features/model={model}/shard-{shard}.parquet",
        rope="results/rope/model={model}/shard-{shard}.parquet",
        displacements=displacements_of,
    output:
        "results/links/model={model}/shard-{shard}.parquet",
    log:
        "logs/link_tolerance/{model}-{shard}.log",
    benchmark:
        "logs/link_tolerance/{model}-{shard}.tsv"
    conda:
        "../envs/analysis.yaml"
    # Many small matrix products: two jobs side by side are faster than one on two threads.
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        code=code_hash("scripts/link_tolerance.py"),
        seed=TOLERANCE["seed"],
    message:
        "Predicting changes of logits: {wildcards.model}, shard {wildcards.shard}"
    script:
        "../scripts/link_tolerance.py"


rule tabulate_tolerance:
    input:
        tolerance=perturbed("tolerance"),
        links=tolerance_shards("links"),
        mechanism="results/tables/mechanism.csv",
    output:
        csv=report(
            "results/tables/tolerance.csv",
            caption="../report/tolerance_table.rst",
            category="Tolerance",
            labels={"result": "loss under perturbed order"},
        ),
        link=report(
            "results/tables/tolerance_link.csv",
            caption="../report/link_table.rst",
            category="Tolerance",
            labels={"result": "what the mechanism predicts"},
        ),
    log:
        "logs/tabulate_tolerance.log",
    benchmark:
        "logs/tabulate_tolerance.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("scripts/tabulate_tolerance.py"),
        models=ROTARY,
        perturbations=TOLERANCE["perturbations"],
        samples=config["fits"]["bootstrap_samples"],
        seed=config["fits"]["bootstrap_seed"],
    message:
        "Tabulating the tolerance"
    script:
        "../scripts/tabulate_tolerance.py"


EXPERIMENTS["tolerance"] = Experiment(
    category="Tolerance",
    tables=["tolerance", "tolerance_link"],
    stages={
        "displacements": tolerance_shards("displacements", ROTARY_BASES),
        "plain": tolerance_shards("plain"),
        "tolerance": perturbed("tolerance"),
        "cosines": perturbed("cosines"),
        "links": tolerance_shards("links"),
    },
    figures={
        "tolerance": Figure({"table": "results/tables/tolerance.csv"}, "perplexity by fraction perturbed"),
        "cosines": Figure({"cosines": perturbed("cosines")}, "attention output by layer"),
        "link": Figure(
            {"links": tolerance_shards("links")},
            "predicted and seen change of logits",
            # The paper's 10 %, or what comes nearest.
            fraction=min(FRACTIONS[1:] or [0.0], key=lambda fraction: abs(fraction - 0.1)),
        ),
    },
)


rule tolerance:
    input:
        outputs_of("tolerance"),
    localrule: True
