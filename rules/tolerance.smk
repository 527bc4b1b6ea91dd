# What a model loses when order is perturbed, in three perturbations that share one displacement. It runs the models again and is
# a target of its own: `snakemake tolerance`.

TOLERANCE = config["tolerance"]
# 0 is the plain run, which all others are compared with.
FRACTIONS = sorted({0.0, *map(float, TOLERANCE["fractions"])})
TOLERANCE_SHARDS = SHARDS[: math.ceil(TOLERANCE["sequences"] / SHARD_SIZE)]


rule tolerance:
    input:
        "results/tables/tolerance.csv",
        "results/tables/tolerance_link.csv",
        expand("results/figures/{figure}.pdf", figure=["tolerance", "cosines", "link"]),


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
        tolerance=perturbations_of("tolerance"),
        links=expand("results/links/model={model}/shard-{shard}.parquet", model=ROTARY, shard=TOLERANCE_SHARDS),
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


rule plot_tolerance:
    input:
        "results/tables/tolerance.csv",
    output:
        report(
            "results/figures/tolerance.svg",
            caption="../report/tolerance.rst",
            category="Tolerance",
            labels={"result": "perplexity by fraction perturbed"},
        ),
        "results/figures/tolerance.pdf",
        "results/figures/tolerance.png",
    log:
        "logs/plot_tolerance.log",
    benchmark:
        "logs/plot_tolerance.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_tolerance.py"),
    message:
        "Plotting perplexity under perturbed order"
    script:
        "../scripts/plot_tolerance.py"


rule plot_cosines:
    input:
        perturbations_of("cosines"),
    output:
        report(
            "results/figures/cosines.svg",
            caption="../report/cosines.rst",
            category="Tolerance",
            labels={"result": "attention output by layer"},
        ),
        "results/figures/cosines.pdf",
        "results/figures/cosines.png",
    log:
        "logs/plot_cosines.log",
    benchmark:
        "logs/plot_cosines.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_cosines.py"),
    message:
        "Plotting attention outputs under perturbed order"
    script:
        "../scripts/plot_cosines.py"


rule plot_link:
    input:
        expand("results/links/model={model}/shard-{shard}.parquet", model=ROTARY, shard=TOLERANCE_SHARDS),
    output:
        report(
            "results/figures/link.svg",
            caption="../report/link.rst",
            category="Tolerance",
            labels={"result": "predicted and seen change of logits"},
        ),
        "results/figures/link.pdf",
        "results/figures/link.png",
    log:
        "logs/plot_link.log",
    benchmark:
        "logs/plot_link.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_link.py"),
        # The paper's 10 %, or what comes nearest.
        fraction=min(FRACTIONS[1:], key=lambda fraction: abs(fraction - 0.1)),
    message:
        "Plotting predicted and seen changes of logits"
    script:
        "../scripts/plot_link.py"
