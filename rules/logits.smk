# Logit matrices, and the sums over them that are all the fits need.


rule dump_logits:
    input:
        features="results/features/model={model}/shard-{shard}.parquet",
        rope="results/rope/model={model}/shard-{shard}.parquet",
    output:
        "results/logits/model={model}/shard-{shard}.parquet",
    log:
        "logs/dump_logits/{model}-{shard}.log",
    benchmark:
        "logs/dump_logits/{model}-{shard}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code_hash("scripts/dump_logits.py"),
        heads=config["logits"]["heads"],
    message:
        "Writing logits: {wildcards.model}, shard {wildcards.shard}"
    script:
        "../scripts/dump_logits.py"


rule sum_logits:
    input:
        "results/logits/model={model}/shard-{shard}.parquet",
    output:
        "results/sums/model={model}/shard-{shard}.parquet",
    log:
        "logs/sum_logits/{model}-{shard}.log",
    benchmark:
        "logs/sum_logits/{model}-{shard}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        # DuckDB gets what Python and one batch of rows leave: 1 GiB.
        mem_mb=growing(1536),
        runtime=growing(60),
    params:
        code=code_hash("scripts/sum_logits.py"),
        length=config["sequences"]["length"],
        half_seed=config["fits"]["half_seed"],
    message:
        "Summing logits: {wildcards.model}, shard {wildcards.shard}"
    script:
        "../scripts/sum_logits.py"
