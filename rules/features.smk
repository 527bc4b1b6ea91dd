# The only stage that runs a model: one coarse job for each (model, shard).


rule extract_features:
    input:
        sequences="results/sequences/model={model}/shard-{shard}.parquet",
        record=record_of,
    output:
        features="results/features/model={model}/shard-{shard}.parquet",
        rope="results/rope/model={model}/shard-{shard}.parquet",
    log:
        "logs/extract_features/{model}-{shard}.log",
    benchmark:
        "logs/extract_features/{model}-{shard}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        code=code_hash("scripts/extract_features.py"),
        random_seed=lambda wildcards: MODELS[wildcards.model],
        features=config["features"],
    message:
        "Extracting queries and keys: {wildcards.model}, shard {wildcards.shard}"
    script:
        "../scripts/extract_features.py"
