# The figures, each as PDF, SVG and PNG; the report shows the SVG (the PNG where there are many pixels).


rule plot_heads:
    input:
        "results/tables/heads.csv",
    output:
        report(
            "results/figures/heads.svg",
            caption="../report/heads.rst",
            category="Three-axis fit",
            labels={"result": "r by layer and head"},
        ),
        "results/figures/heads.pdf",
        "results/figures/heads.png",
    log:
        "logs/plot_heads.log",
    benchmark:
        "logs/plot_heads.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_heads.py"),
        models=list(MODELS),
    message:
        "Plotting r by layer and head"
    script:
        "../scripts/plot_heads.py"


rule plot_axes:
    input:
        "results/tables/heads.csv",
    output:
        report(
            "results/figures/axes.svg",
            caption="../report/axes.rst",
            category="Three-axis fit",
            labels={"result": "r for each combination of axes"},
        ),
        "results/figures/axes.pdf",
        "results/figures/axes.png",
    log:
        "logs/plot_axes.log",
    benchmark:
        "logs/plot_axes.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_axes.py"),
        models=list(MODELS),
    message:
        "Plotting r for each combination of axes"
    script:
        "../scripts/plot_axes.py"


rule plot_matrices:
    input:
        fits="results/fits/model={model}/shard-0000.parquet",
        logits="results/logits/model={model}/shard-0000.parquet",
        components="results/components/model={model}/shard-0000.parquet",
    output:
        report(
            "results/figures/matrices-{model}.png",
            caption="../report/matrices.rst",
            category="Three-axis fit",
            labels={"result": "logits and their fit, {model}"},
        ),
        "results/figures/matrices-{model}.pdf",
        "results/figures/matrices-{model}.svg",
    log:
        "logs/plot_matrices/{model}.log",
    benchmark:
        "logs/plot_matrices/{model}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_matrices.py"),
        length=config["sequences"]["length"],
    message:
        "Plotting logit matrices: {wildcards.model}"
    script:
        "../scripts/plot_matrices.py"


rule plot_distance:
    input:
        shards_of("components"),
    output:
        report(
            "results/figures/distance.svg",
            caption="../report/distance.rst",
            category="Three-axis fit",
            labels={"result": "distance component by layer"},
        ),
        "results/figures/distance.pdf",
        "results/figures/distance.png",
    log:
        "logs/plot_distance.log",
    benchmark:
        "logs/plot_distance.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_distance.py"),
        models=list(MODELS),
    message:
        "Plotting the distance component"
    script:
        "../scripts/plot_distance.py"


rule plot_additive:
    input:
        "results/tables/additive.csv",
    output:
        report(
            "results/figures/additive.svg",
            caption="../report/additive.rst",
            category="Mechanism",
            labels={"result": "r_additive by layer and head"},
        ),
        "results/figures/additive.pdf",
        "results/figures/additive.png",
    log:
        "logs/plot_additive.log",
    benchmark:
        "logs/plot_additive.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_additive.py"),
        models=ROTARY,
    message:
        "Plotting r_additive by layer and head"
    script:
        "../scripts/plot_additive.py"


rule plot_pairs:
    input:
        "results/tables/pairs.csv",
    output:
        report(
            "results/figures/pairs.svg",
            caption="../report/pairs.rst",
            category="Mechanism",
            labels={"result": "norm and key constancy by frequency"},
        ),
        "results/figures/pairs.pdf",
        "results/figures/pairs.png",
    log:
        "logs/plot_pairs.log",
    benchmark:
        "logs/plot_pairs.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_pairs.py"),
        models=ROTARY,
    message:
        "Plotting queries and keys by frequency"
    script:
        "../scripts/plot_pairs.py"


rule plot_contributions:
    input:
        "results/tables/pairs.csv",
    output:
        report(
            "results/figures/contributions.svg",
            caption="../report/contributions.rst",
            category="Mechanism",
            labels={"result": "f, g and interaction by frequency"},
        ),
        "results/figures/contributions.pdf",
        "results/figures/contributions.png",
    log:
        "logs/plot_contributions.log",
    benchmark:
        "logs/plot_contributions.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_contributions.py"),
        models=ROTARY,
    message:
        "Plotting where f, g and the interaction live"
    script:
        "../scripts/plot_contributions.py"


rule plot_dummies:
    input:
        "results/tables/dummies.csv",
    output:
        report(
            "results/figures/dummies.svg",
            caption="../report/dummies.rst",
            category="Mechanism",
            labels={"result": "key component against dummy distance"},
        ),
        "results/figures/dummies.pdf",
        "results/figures/dummies.png",
    log:
        "logs/plot_dummies.log",
    benchmark:
        "logs/plot_dummies.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_dummies.py"),
        models=ROTARY,
    message:
        "Plotting the key component against dummy distance"
    script:
        "../scripts/plot_dummies.py"


rule plot_surface:
    input:
        additivity="results/additivity/model={model}/shard-0000.parquet",
        features="results/features/model={model}/shard-0000.parquet",
        rope="results/rope/model={model}/shard-0000.parquet",
    output:
        report(
            "results/figures/surface-{model}.png",
            caption="../report/surface.rst",
            category="Mechanism",
            labels={"result": "logits over distance and key, {model}"},
        ),
        "results/figures/surface-{model}.pdf",
        "results/figures/surface-{model}.svg",
    log:
        "logs/plot_surface/{model}.log",
    benchmark:
        "logs/plot_surface/{model}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_surface.py"),
        length=config["sequences"]["length"],
        grid={name: config["mechanism"][name] for name in ("queries", "keys", "distances")},
    message:
        "Plotting a logit surface: {wildcards.model}"
    script:
        "../scripts/plot_surface.py"
