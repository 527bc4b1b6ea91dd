# Train models on the corpus, and follow what series of checkpoints learn.

# The checkpoints of series whose queries and keys can be seen: what is learned, and when, is read off them.
CHECKPOINTS = [model for model in ROTARY if series_of(model)]


if TRAINED:

    rule split_documents:
        input:
            "results/documents.parquet",
        output:
            "results/splits/model={entry}/split.parquet",
        log:
            "logs/split_documents/{entry}.log",
        benchmark:
            "logs/split_documents/{entry}.tsv"
        wildcard_constraints:
            entry=one_of(entry for entry, _ in TRAINED.values()),
        localrule: True
        conda:
            "../envs/analysis.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            code=code_hash("scripts/split_documents.py"),
            heldout=lambda wildcards: config["models"][wildcards.entry]["training"]["heldout"],
            seed=lambda wildcards: config["models"][wildcards.entry]["training"]["split_seed"],
        message:
            "Holding documents out: {wildcards.entry}"
        script:
            "../scripts/split_documents.py"

    rule train_model:
        input:
            documents="results/documents.parquet",
            split=lambda wildcards: f"results/splits/model={TRAINED[wildcards.series][0]}/split.parquet",
        output:
            # Beside it lie the weights of each step, which no rule declares.
            record=kept_here("resources/training/{series}.json"),
            curve="results/curves/series={series}/curve.parquet",
        log:
            "logs/train_model/{series}.log",
        benchmark:
            "logs/train_model/{series}.tsv"
        wildcard_constraints:
            series=one_of(TRAINED),
        conda:
            "../envs/gpu.yaml"
        # One, so that weights do not depend on how many cores a run is given: sums of another order round otherwise.
        threads: 1
        resources:
            mem_mb=growing(8000),
            runtime=growing(600),
        params:
            code=code_hash("scripts/train_model.py"),
            device=RUN["device"],
            training=lambda wildcards: training_of(wildcards.series),
            seed=lambda wildcards: TRAINED[wildcards.series][1],
            steps=lambda wildcards: sorted(config["models"][TRAINED[wildcards.series][0]]["steps"]),
        message:
            "Training: {wildcards.series}"
        script:
            "../scripts/train_model.py"

    rule record_checkpoint:
        input:
            trained=trained_of,
            split=lambda wildcards: f"results/splits/model={TRAINED[wildcards.series][0]}/split.parquet",
        output:
            kept_here("resources/models/{series}.step{step}.json"),
        log:
            "logs/record_checkpoint/{series}.step{step}.log",
        benchmark:
            "logs/record_checkpoint/{series}.step{step}.tsv"
        wildcard_constraints:
            series=one_of(TRAINED),
            step="[0-9]+",
        localrule: True
        conda:
            "../envs/analysis.yaml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            code=code_hash("scripts/record_checkpoint.py"),
            training=lambda wildcards: training_digest(wildcards.series),
        message:
            "Recording a checkpoint: {wildcards.series}, step {wildcards.step}"
        script:
            "../scripts/record_checkpoint.py"


if CHECKPOINTS:

    rule measure_checkpoint:
        input:
            sequences="results/sequences/model={model}/shard-{shard}.parquet",
            features="results/features/model={model}/shard-{shard}.parquet",
            rope="results/rope/model={model}/shard-{shard}.parquet",
            record=record_of,
        output:
            losses="results/checkpoint_losses/model={model}/shard-{shard}.parquet",
            attention="results/checkpoint_attention/model={model}/shard-{shard}.parquet",
        log:
            "logs/measure_checkpoint/{model}-{shard}.log",
        benchmark:
            "logs/measure_checkpoint/{model}-{shard}.tsv"
        wildcard_constraints:
            model=one_of(CHECKPOINTS),
        conda:
            "../envs/gpu.yaml"
        threads: 2
        resources:
            mem_mb=growing(8000),
            runtime=growing(60),
        params:
            **{key: RUN[key] for key in ("device", "dtype")},
            code=code_hash("scripts/measure_checkpoint.py"),
            random_seed=lambda wildcards: MODELS[wildcards.model],
        message:
            "Measuring a checkpoint: {wildcards.model}, shard {wildcards.shard}"
        script:
            "../scripts/measure_checkpoint.py"
