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
        for stage, models in {"displacements": ROTARY_BASES, "plain": ROTARY}.items()
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

# Head by head, the feature perturbation: of the sequences of the first shard that are perturbed, the first ones are
# measured and the others, which no cost is measured on, predict. A control has no loss to lose.
MEASURED_HEADS = TOLERANCE["head_sequences"]
PREDICTED_FROM = min(TOLERANCE["sequences"], SHARD_SIZE) - MEASURED_HEADS
HEADED = ROTARY_BASES if MEASURED_HEADS and "feature" in TOLERANCE["perturbations"] else []
PERTURBED |= {
    stage: expand("results/{stage}/model={model}/heads.parquet", stage=stage, model=HEADED)
    for stage in ("perturbed_heads", "predictors")
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
        **ON_GPU,
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
        **ON_GPU,
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


rule perturb_heads:
    input:
        sequences="results/sequences/model={model}/shard-0000.parquet",
        displacements="results/displacements/model={model}/shard-0000.parquet",
        record=record_of,
    output:
        "results/perturbed_heads/model={model}/heads.parquet",
    log:
        "logs/perturb_heads/{model}.log",
    benchmark:
        "logs/perturb_heads/{model}.tsv"
    wildcard_constraints:
        model=one_of(ROTARY_BASES),
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        **ON_GPU,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        **RUN,
        code=code_hash("scripts/perturb_heads.py"),
        first=0,
        taken=MEASURED_HEADS,
        fraction=FRACTIONS[-1],
        seed=TOLERANCE["seed"],
        layers=TOLERANCE["layers"],
    message:
        "Perturbing one head at a time: {wildcards.model}"
    script:
        "../scripts/perturb_heads.py"


rule predict_heads:
    input:
        sequences="results/sequences/model={model}/shard-0000.parquet",
        displacements="results/displacements/model={model}/shard-0000.parquet",
        record=record_of,
    output:
        "results/predictors/model={model}/heads.parquet",
    log:
        "logs/predict_heads/{model}.log",
    benchmark:
        "logs/predict_heads/{model}.tsv"
    wildcard_constraints:
        model=one_of(ROTARY_BASES),
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        **ON_GPU,
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        **RUN,
        code=code_hash("scripts/predict_heads.py"),
        first=MEASURED_HEADS,
        taken=PREDICTED_FROM,
        fraction=FRACTIONS[-1],
        seed=TOLERANCE["seed"],
    message:
        "Predicting what a head costs: {wildcards.model}"
    script:
        "../scripts/predict_heads.py"


rule tabulate_tolerance:
    input:
        PERTURBED["tolerance"],
    output:
        csv="results/tables/tolerance.csv",
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


rule tabulate_perturbed_heads:
    input:
        heads=PERTURBED["perturbed_heads"],
        predictors=PERTURBED["predictors"],
    output:
        heads="results/tables/tolerance_heads.csv",
        csv="results/tables/tolerance_predictors.csv",
    log:
        "logs/tabulate_perturbed_heads.log",
    benchmark:
        "logs/tabulate_perturbed_heads.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/tabulate_perturbed_heads.py"),
        samples=config["fits"]["bootstrap_samples"],
        seed=config["fits"]["bootstrap_seed"],
    message:
        "Tabulating the tolerance of heads"
    script:
        "../scripts/tabulate_perturbed_heads.py"


EXPERIMENTS["tolerance"] = Experiment(
    category="5. Tolerance",
    tables={
        "tolerance": "loss under perturbed order",
        **({"tolerance_predictors": "what predicts the cost of a head"} if HEADED else {}),
    },
    figure_tables=["tolerance_heads"] if HEADED else [],
    stages=PERTURBED,
    large=["plain"],
    figures={
        "tolerance": Figure(
            {"table": "results/tables/tolerance.csv"}, "perplexity by fraction perturbed", models=ROTARY
        ),
        "cosines": Figure({"cosines": PERTURBED["cosines"]}, "attention output by layer", models=ROTARY),
        "predictors": Figure(
            {
                "heads": "results/tables/tolerance_heads.csv",
                "ranks": "results/tables/tolerance_predictors.csv",
            },
            "what predicts the cost of a head, {model}",
            each=HEADED,
        ),
    },
)


rule tolerance:
    input:
        outputs_of("tolerance"),
    localrule: True
