# The figures, each as PDF, SVG and PNG; the report shows the SVG (the PNG where there are many pixels).

FORMATS = ["pdf", "svg", "png"]


rule plot_heads:
    input:
        shards_of("fits"),
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
        shards_of("fits"),
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
