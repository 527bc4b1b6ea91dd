# What each head is: a row a head, from every stage that knows it, and the centres of its queries and keys.

HEADS = config["heads"]

# The variant of surgery that replaces single heads, if it is part of the run.
SINGLE_HEADS = config["surgery"]["stepwise"][0] if "surgery" in CHOSEN and config["surgery"]["stepwise"] else None


rule measure_heads:
    input:
        features="results/features/model={model}/shard-{shard}.parquet",
        rope="results/rope/model={model}/shard-{shard}.parquet",
    output:
        "results/head_attention/model={model}/shard-{shard}.parquet",
    log:
        "logs/measure_heads/{model}-{shard}.log",
    benchmark:
        "logs/measure_heads/{model}-{shard}.tsv"
    conda:
        "../envs/gpu.yaml"
    # On the CPU and on one thread, as the mechanism.
    threads: 1
    resources:
        # A layer, and a key head with the queries that it serves.
        mem_mb=by_tokens(2000, 150_000),
        runtime=growing(60),
    params:
        code=code_hash("scripts/measure_heads.py"),
        queries=HEADS["queries"],
    message:
        "Measuring where heads look: {wildcards.model}, shard {wildcards.shard}"
    script:
        "../scripts/measure_heads.py"


rule draw_prompts:
    input:
        lambda wildcards: f"results/tokens/model={base_of(wildcards.model)}/tokens.parquet",
    output:
        "results/prompts/model={model}/prompts.parquet",
    log:
        "logs/draw_prompts/{model}.log",
    benchmark:
        "logs/draw_prompts/{model}.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_hash("scripts/draw_prompts.py"),
        prompts=HEADS["prompts"],
        period=HEADS["period"],
        seed=HEADS["seed"],
    message:
        "Drawing prompts: {wildcards.model}"
    script:
        "../scripts/draw_prompts.py"


use rule extract_features as extract_prompts with:
    input:
        sequences="results/prompts/model={model}/prompts.parquet",
        record=record_of,
    output:
        features="results/prompt_features/model={model}/features.parquet",
        rope="results/prompt_rope/model={model}/rope.parquet",
    log:
        "logs/extract_prompts/{model}.log",
    benchmark:
        "logs/extract_prompts/{model}.tsv"
    # It loads the model for longer than it runs it: jobs side by side are faster than one on many threads.
    threads: 1
    message:
        "Extracting queries and keys of prompts: {wildcards.model}"


rule score_prompts:
    input:
        features="results/prompt_features/model={model}/features.parquet",
        rope="results/prompt_rope/model={model}/rope.parquet",
    output:
        "results/prompt_scores/model={model}/scores.parquet",
    log:
        "logs/score_prompts/{model}.log",
    benchmark:
        "logs/score_prompts/{model}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("scripts/score_prompts.py"),
        period=HEADS["period"],
    message:
        "Scoring heads on prompts: {wildcards.model}"
    script:
        "../scripts/score_prompts.py"


rule describe_heads:
    input:
        attention=lambda wildcards: shards_of("head_attention", [wildcards.model]),
        fits=lambda wildcards: shards_of("fits", [wildcards.model]),
        additivity=lambda wildcards: shards_of("additivity", [wildcards.model]),
        patterns=lambda wildcards: shards_of("patterns", [wildcards.model]),
        scores="results/prompt_scores/model={model}/scores.parquet",
        surgery=["results/surgery/model={model}/surgery.parquet"] if SINGLE_HEADS else [],
    output:
        "results/heads/model={model}/heads.parquet",
    log:
        "logs/describe_heads/{model}.log",
    benchmark:
        "logs/describe_heads/{model}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("scripts/describe_heads.py"),
        length=config["sequences"]["length"],
        variant=SINGLE_HEADS,
        samples=config["fits"]["bootstrap_samples"],
        seed=config["fits"]["bootstrap_seed"],
    message:
        "Describing heads: {wildcards.model}"
    script:
        "../scripts/describe_heads.py"


rule tabulate_heads:
    input:
        expand("results/heads/model={model}/heads.parquet", model=ROTARY),
    output:
        heads="results/tables/heads.csv",
        classes="results/tables/heads_classes.csv",
        least="results/tables/heads_least_additive.csv",
        relations="results/tables/heads_relations.csv",
    log:
        "logs/tabulate_heads.log",
    benchmark:
        "logs/tabulate_heads.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("scripts/tabulate_heads.py"),
        models=ROTARY,
        samples=config["fits"]["bootstrap_samples"],
        seed=config["fits"]["bootstrap_seed"],
    message:
        "Tabulating the heads"
    script:
        "../scripts/tabulate_heads.py"


rule collect_centres:
    input:
        features=lambda wildcards: shards_of("features", [wildcards.model]),
        rope="results/rope/model={model}/shard-0000.parquet",
        record=record_of,
        corpus=kept_here("resources/corpus.json"),
    output:
        "results/centres/model={model}.safetensors",
    log:
        "logs/collect_centres/{model}.log",
    benchmark:
        "logs/collect_centres/{model}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        # A layer at a time.
        mem_mb=by_tokens(2000, 150_000),
        runtime=growing(60),
    params:
        code=code_hash("scripts/collect_centres.py"),
        sequences=config["sequences"]["count"],
        length=config["sequences"]["length"],
    message:
        "Collecting centres of queries and keys: {wildcards.model}"
    script:
        "../scripts/collect_centres.py"


CENTRES = expand("results/centres/model={model}.safetensors", model=ROTARY_BASES)


EXPERIMENTS["heads"] = Experiment(
    category="3. Heads",
    tables={
        "heads_classes": "how many heads of each class",
        "heads_least_additive": "the least additive heads",
        "heads_relations": "what goes with what over heads",
        "heads": "a row a head",
    },
    stages={
        "heads": expand("results/heads/model={model}/heads.parquet", model=ROTARY),
        "head_attention": shards_of("head_attention", ROTARY),
        "prompts": expand("results/prompts/model={model}/prompts.parquet", model=ROTARY),
        "prompt_features": expand("results/prompt_features/model={model}/features.parquet", model=ROTARY),
        "prompt_rope": expand("results/prompt_rope/model={model}/rope.parquet", model=ROTARY),
        "prompt_scores": expand("results/prompt_scores/model={model}/scores.parquet", model=ROTARY),
    },
    large=["prompt_features"],
    others=CENTRES,
    figures={
        "classes": Figure(
            {"table": "results/tables/heads.csv"}, "class and role of each head, by layer", models=ROTARY
        ),
        "least_additive": Figure(
            {"table": "results/tables/heads_least_additive.csv"}, "the least additive heads, {model}", each=ROTARY_BASES
        ),
        "interaction": Figure(
            {"table": "results/tables/heads.csv", "relations": "results/tables/heads_relations.csv"},
            "interaction against what heads do, {model}",
            each=ROTARY_BASES,
        ),
    },
)


rule heads:
    input:
        outputs_of("heads"),
        CENTRES,
    localrule: True
