# What a model loses when order is perturbed, in three ways that share one displacement.

TOLERANCE = config["tolerance"]
# 0 is the plain run, which all others are compared with.
FRACTIONS = sorted({0.0, *map(float, TOLERANCE["fractions"])})
# The paper's 10 %, or what comes nearest.
SHOWN_FRACTION = min(FRACTIONS[1:] or [0.0], key=lambda fraction: abs(fraction - 0.1))
TOLERANCE_SHARDS = SHARDS[: math.ceil(TOLERANCE["sequences"] / SHARD_SIZE)]

# Model by model, the files of a stage that has one a shard, or one a perturbation and shard.
A_SHARD = "results/{stage}/model={model}/shard-{shard}.parquet"
A_PERTURBATION = "results/{stage}/model={model}/perturbation={perturbation}/shard-{shard}.parquet"
PERTURBED = {
    **{
        stage: expand(A_SHARD, stage=stage, model=models, shard=TOLERANCE_SHARDS)
        for stage, models in {"displacements": ROTARY_BASES, "plain": ROTARY, "links": ROTARY}.items()
    },
    **{
        stage: expand(
            A_PERTURBATION,
            stage=stage,
            model=ROTARY,
            perturbation=TOLERANCE["perturbations"],
            shard=TOLERANCE_SHARDS,
        )
        for stage in ("tolerance", "cosines")
    },
}


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
        # Of this shard, so many sequences are perturbed.
        taken=lambda wildcards: min(TOLERANCE["sequences"] - int(wildcards.shard) * SHARD_SIZE, SHARD_SIZE),
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
        # Of this shard, so many sequences are perturbed.
        taken=lambda wildcards: min(TOLERANCE["sequences"] - int(wildcards.shard) * SHARD_SIZE, SHARD_SIZE),
    message:
        "Running unperturbed: {wildcards.model}, shard {wildcards.shard}"
    script:
        "../scripts/run_plain.py"


rule run_perturbed:
    input:
        sequences="results/sequences/model={model}/shard-{shard}.parquet",
        # A control's tokens change places as its model's do.
        displacements=lambda wildcards: (
            f"results/displacements/model={base_of(wildcards.model)}/shard-{wildcards.shard}.parquet"
        ),
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
        # Of this shard, so many sequences are perturbed.
        taken=lambda wildcards: min(TOLERANCE["sequences"] - int(wildcards.shard) * SHARD_SIZE, SHARD_SIZE),
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
        # A control's tokens change places as its model's do.
        displacements=lambda wildcards: (
            f"results/displacements/model={base_of(wildcards.model)}/shard-{wildcards.shard}.parquet"
        ),
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
        tolerance=PERTURBED["tolerance"],
        links=PERTURBED["links"],
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
    stages=PERTURBED,
    large=["plain"],
    figures={
        "tolerance": Figure({"table": "results/tables/tolerance.csv"}, "perplexity by fraction perturbed"),
        "cosines": Figure({"cosines": PERTURBED["cosines"]}, "attention output by layer"),
        "link": Figure(
            {"links": PERTURBED["links"]},
            "predicted and seen change of logits",
            fraction=SHOWN_FRACTION,
        ),
    },
)


rule tolerance:
    input:
        outputs_of("tolerance"),
    localrule: True
