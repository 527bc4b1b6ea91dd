# The three-axis fit.


rule fit_axes:
    input:
        "results/sums/model={model}/shard-{shard}.parquet",
    output:
        fits="results/fits/model={model}/shard-{shard}.parquet",
        components="results/components/model={model}/shard-{shard}.parquet",
    log:
        "logs/fit_axes/{model}-{shard}.log",
    benchmark:
        "logs/fit_axes/{model}-{shard}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        # The normal equations of all cells and of the held-out half, and their factors.
        mem_mb=by_length(2000, 600),
        runtime=growing(30),
    params:
        code=code_hash("scripts/fit_axes.py"),
        length=config["sequences"]["length"],
        half_seed=config["fits"]["half_seed"],
    message:
        "Fitting three axes: {wildcards.model}, shard {wildcards.shard}"
    script:
        "../scripts/fit_axes.py"
