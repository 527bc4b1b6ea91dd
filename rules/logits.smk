# Logit matrices, and the sums over them that are all the fits need. `logits.keep` says which are written: all, the first
# sequence of each shard, or none; what is not written is summed as it is made.


if ROTARY:

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
        wildcard_constraints:
            model=one_of(ROTARY),
        conda:
            "../envs/analysis.yaml"
        threads: 2
        resources:
            # One layer at a time: 40 bytes a logit, of 32 heads.
            mem_mb=by_length(4000, 32 * 40),
            runtime=growing(60),
        params:
            code=code_hash("scripts/dump_logits.py"),
            heads=config["logits"]["heads"],
            first_alone=KEEP == "sample",
        message:
            "Writing logits: {wildcards.model}, shard {wildcards.shard}"
        script:
            "../scripts/dump_logits.py"


if CAPTURED:

    rule capture_logits:
        input:
            sequences="results/sequences/model={model}/shard-{shard}.parquet",
            record=record_of,
        output:
            "results/logits/model={model}/shard-{shard}.parquet",
        log:
            "logs/capture_logits/{model}-{shard}.log",
        benchmark:
            "logs/capture_logits/{model}-{shard}.tsv"
        wildcard_constraints:
            model=one_of(CAPTURED),
        conda:
            "../envs/gpu.yaml"
        threads: 8
        resources:
            # The model, and as dump_logits.
            mem_mb=by_length(8000, 32 * 40),
            runtime=growing(60),
        params:
            code=code_hash("scripts/capture_logits.py"),
            random_seed=lambda wildcards: MODELS[wildcards.model],
            features={**RUN, "layers": config["features"]["layers"]},
            heads=config["logits"]["heads"],
            first_alone=KEEP == "sample",
        message:
            "Capturing logits: {wildcards.model}, shard {wildcards.shard}"
        script:
            "../scripts/capture_logits.py"


if KEEP == "all":

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


if KEEP != "all" and ROTARY:

    rule sum_features:
        input:
            features="results/features/model={model}/shard-{shard}.parquet",
            rope="results/rope/model={model}/shard-{shard}.parquet",
        output:
            "results/sums/model={model}/shard-{shard}.parquet",
        log:
            "logs/sum_features/{model}-{shard}.log",
        benchmark:
            "logs/sum_features/{model}-{shard}.tsv"
        wildcard_constraints:
            model=one_of(ROTARY),
        conda:
            "../envs/gpu.yaml"
        threads: 2
        resources:
            # One layer at a time: 64 bytes a logit, of 32 heads.
            mem_mb=by_length(4000, 32 * 64),
            runtime=growing(60),
        params:
            code=code_hash("scripts/sum_features.py"),
            device=RUN["device"],
            heads=config["logits"]["heads"],
            length=config["sequences"]["length"],
            half_seed=config["fits"]["half_seed"],
        message:
            "Summing logits unwritten: {wildcards.model}, shard {wildcards.shard}"
        script:
            "../scripts/sum_features.py"


if KEEP != "all" and CAPTURED:

    rule sum_captured:
        input:
            sequences="results/sequences/model={model}/shard-{shard}.parquet",
            record=record_of,
        output:
            "results/sums/model={model}/shard-{shard}.parquet",
        log:
            "logs/sum_captured/{model}-{shard}.log",
        benchmark:
            "logs/sum_captured/{model}-{shard}.tsv"
        wildcard_constraints:
            model=one_of(CAPTURED),
        conda:
            "../envs/gpu.yaml"
        threads: 8
        resources:
            # The model, and as sum_features.
            mem_mb=by_length(8000, 32 * 64),
            runtime=growing(60),
        params:
            code=code_hash("scripts/sum_captured.py"),
            random_seed=lambda wildcards: MODELS[wildcards.model],
            features={**RUN, "layers": config["features"]["layers"]},
            heads=config["logits"]["heads"],
            half_seed=config["fits"]["half_seed"],
        message:
            "Summing captured logits unwritten: {wildcards.model}, shard {wildcards.shard}"
        script:
            "../scripts/sum_captured.py"
