# Why logits separate into position and meaning: what the features alone tell, without a GPU.

PREFIXES = config["fits"]["prefixes"]


rule measure_mechanism:
    input:
        features="results/features/model={model}/shard-{shard}.parquet",
        rope="results/rope/model={model}/shard-{shard}.parquet",
    output:
        additivity="results/additivity/model={model}/shard-{shard}.parquet",
        dummies="results/dummies/model={model}/shard-{shard}.parquet",
        patterns="results/patterns/model={model}/shard-{shard}.parquet",
    log:
        "logs/measure_mechanism/{model}-{shard}.log",
    benchmark:
        "logs/measure_mechanism/{model}-{shard}.tsv"
    conda:
        "../envs/gpu.yaml"
    # On the CPU, whatever runs the model: this takes less time than that, and another device would give other last digits.
    # Many small matrix products: two jobs side by side are faster than one on two threads.
    threads: 1
    resources:
        # A layer, and a key head with the queries that it serves.
        mem_mb=by_tokens(2000, 150_000),
        runtime=growing(60),
    params:
        code=code_hash("scripts/measure_mechanism.py"),
        length=config["sequences"]["length"],
        distances=config["dummies"]["distances"],
        prefixes=PREFIXES,
    message:
        "Measuring the mechanism: {wildcards.model}, shard {wildcards.shard}"
    script:
        "../scripts/measure_mechanism.py"


rule solve_expressivity:
    input:
        expand("results/rope/model={base}/shard-0000.parquet", base=ROTARY_BASES),
    output:
        "results/tables/expressivity.csv",
    log:
        "logs/solve_expressivity.log",
    benchmark:
        "logs/solve_expressivity.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=code_hash("scripts/solve_expressivity.py"),
        models=ROTARY_BASES,
        length=config["sequences"]["length"],
    message:
        "Reaching random functions of distance"
    script:
        "../scripts/solve_expressivity.py"


rule tabulate_mechanism:
    input:
        additivity=shards_of("additivity", ROTARY),
        dummies=shards_of("dummies", ROTARY),
        patterns=shards_of("patterns", ROTARY),
        rope=expand("results/rope/model={model}/shard-0000.parquet", model=ROTARY),
    output:
        mechanism="results/tables/mechanism.csv",
        additive="results/tables/additive.csv",
        prefixes=["results/tables/additive_prefixes.csv"] if PREFIXES else [],
        pairs="results/tables/pairs.csv",
        dummies="results/tables/dummies.csv",
    log:
        "logs/tabulate_mechanism.log",
    benchmark:
        "logs/tabulate_mechanism.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("scripts/tabulate_mechanism.py"),
        models=ROTARY,
        length=config["sequences"]["length"],
        samples=config["fits"]["bootstrap_samples"],
        seed=config["fits"]["bootstrap_seed"],
    message:
        "Tabulating the mechanism"
    script:
        "../scripts/tabulate_mechanism.py"


EXPERIMENTS["mechanism"] = Experiment(
    category="2. Mechanism",
    tables={"mechanism": "how additive the logits are", "expressivity": "what RoPE could express"},
    figure_tables=["additive", "pairs", "dummies", *(["additive_prefixes"] if PREFIXES else [])],
    stages={stage: shards_of(stage, ROTARY) for stage in ("additivity", "dummies", "patterns")},
    large=["additivity", "dummies", "patterns"],
    figures={
        "additive": Figure(
            {"table": "results/tables/additive.csv"},
            "how additive, by layer and head, beside both nulls",
            models=ROTARY,
        ),
        "pairs": Figure({"table": "results/tables/pairs.csv"}, "norm and key constancy by frequency", models=ROTARY),
        "contributions": Figure(
            {"table": "results/tables/pairs.csv"}, "f, g and interaction by frequency", models=ROTARY
        ),
        "dummies": Figure(
            {"table": "results/tables/dummies.csv"}, "key component against dummy distance", models=ROTARY
        ),
        "surface": Figure(
            {
                stage: f"results/{stage}/model={{model}}/shard-0000.parquet"
                for stage in ("additivity", "features", "rope")
            },
            "logits over distance and key, {model}",
            each=ROTARY,
            shown="png",
            length=config["sequences"]["length"],
        ),
    },
)
