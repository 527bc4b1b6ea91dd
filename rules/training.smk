# Train models on the corpus, and follow what series of checkpoints learn.

# The checkpoints of series whose queries and keys can be seen: what is learned, and when, is read off them.
CHECKPOINTS = [model for model in ROTARY if series_of(model)]
FLEXIBILITY = [f"results/flexibility/model={model}/flexibility.parquet" for model in CHECKPOINTS]
CURVES = [f"results/curves/series={series}/curve.parquet" for series in TRAINED]


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
            **ON_GPU,
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
            **ON_GPU,
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

    rule measure_flexibility:
        input:
            sequences=[f"results/sequences/model={{model}}/shard-{shard}.parquet" for shard in TOLERANCE_SHARDS],
            # A control's tokens change places as its model's do.
            displacements=lambda wildcards: [
                f"results/displacements/model={base_of(wildcards.model)}/shard-{shard}.parquet"
                for shard in TOLERANCE_SHARDS
            ],
            # Long texts are the experiment's on lengths, and without it none is read.
            joined=["results/length/sequences/model={model}/sequences.parquet"] if "length" in CHOSEN else [],
            record=record_of,
        output:
            "results/flexibility/model={model}/flexibility.parquet",
        log:
            "logs/measure_flexibility/{model}.log",
        benchmark:
            "logs/measure_flexibility/{model}.tsv"
        wildcard_constraints:
            model=one_of(CHECKPOINTS),
        conda:
            "../envs/gpu.yaml"
        threads: 2
        resources:
            **ON_GPU,
            mem_mb=growing(8000),
            runtime=growing(60),
        params:
            **{key: RUN[key] for key in ("device", "dtype")},
            code=code_hash("scripts/measure_flexibility.py"),
            random_seed=lambda wildcards: MODELS[wildcards.model],
            seed=TOLERANCE["seed"],
            fraction=SHOWN_FRACTION,
            training_length=LENGTH["training_length"],
        message:
            "Measuring what displaced words and length cost: {wildcards.model}"
        script:
            "../scripts/measure_flexibility.py"

    rule tabulate_training:
        input:
            fits=shards_of("fits", CHECKPOINTS),
            components=shards_of("components", CHECKPOINTS),
            flexibility=FLEXIBILITY,
            additivity=shards_of("additivity", CHECKPOINTS),
            patterns=shards_of("patterns", CHECKPOINTS),
            checkpoint_losses=shards_of("checkpoint_losses", CHECKPOINTS),
            checkpoint_attention=shards_of("checkpoint_attention", CHECKPOINTS),
            curves=CURVES,
        output:
            training="results/tables/training.csv",
            settling="results/tables/settling.csv",
            criteria="results/tables/criteria.csv",
            losses=["results/tables/training_loss.csv"] if CURVES else [],
        log:
            "logs/tabulate_training.log",
        benchmark:
            "logs/tabulate_training.tsv"
        conda:
            "../envs/analysis.yaml"
        threads: 1
        resources:
            mem_mb=growing(2000),
            runtime=growing(30),
        params:
            code=code_hash("scripts/tabulate_training.py"),
            models=CHECKPOINTS,
            length=config["sequences"]["length"],
            samples=config["fits"]["bootstrap_samples"],
            seed=config["fits"]["bootstrap_seed"],
        message:
            "Tabulating what is learned, and when"
        script:
            "../scripts/tabulate_training.py"


EXPERIMENTS["training"] = Experiment(
    category="8. Training",
    tables={
        "settling": "when each measure settles",
        "criteria": "what foretells the cost of order and length",
        "training": "every measure by step",
        **({"training_loss": "losses while training"} if CURVES else {}),
    },
    stages={
        **{stage: shards_of(stage, CHECKPOINTS) for stage in ("checkpoint_losses", "checkpoint_attention")},
        "splits": [
            f"results/splits/model={entry}/split.parquet"
            for entry in dict.fromkeys(entry for entry, _ in TRAINED.values())
        ],
        "curves": CURVES,
        "flexibility": FLEXIBILITY,
    },
    figures={
        "training": Figure(
            {"table": "results/tables/training.csv", "settling": "results/tables/settling.csv"},
            "every measure by step, {model}",
            each=list(dict.fromkeys(map(entry_of, CHECKPOINTS))),
        ),
        "criteria": Figure({"table": "results/tables/criteria.csv"}, "what foretells the cost of order and length"),
        **(
            {"training_loss": Figure({"table": "results/tables/training_loss.csv"}, "losses while training")}
            if CURVES
            else {}
        ),
    },
)


if CHECKPOINTS:

    rule training:
        input:
            outputs_of("training"),
        localrule: True
