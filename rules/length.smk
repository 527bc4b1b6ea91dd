# Past the training length, method by method.

LENGTH = config["length"]
LENGTH_STAGES = ["losses", "attention", "passkeys", "components", "outputs"]

# What one method reads of its section: another method's options, or its being there, change nothing for it.
FAMILIES = {"inf_llm_published": "inf_llm", **dict.fromkeys(("yarn", "linear", "dynamic"), "factor")}
LENGTH_OPTIONS = {
    method: {
        key: value
        for key, value in LENGTH.items()
        if key not in {"models", "methods", "lm_infinite", "inf_llm", "factor"} - {FAMILIES.get(method, method)}
    }
    for method in LENGTH["methods"]
}

# Without a choice, all models as trained, of a series the last checkpoint: the losses of a control are those of guessing.
LENGTH_MODELS = LENGTH["models"] or latest(ROTARY_BASES)
BY_METHOD = {
    stage: expand(
        "results/length/{stage}/model={model}/{method}.parquet",
        stage=stage,
        model=LENGTH_MODELS,
        method=LENGTH["methods"],
    )
    for stage in [*LENGTH_STAGES, "costs"]
}
COMPARED = {
    stage: expand("results/length/{stage}/model={model}/{stage}.parquet", stage=stage, model=LENGTH_MODELS)
    for stage in ("distances", "clouds")
}


rule join_documents:
    input:
        lambda wildcards: f"results/tokens/model={base_of(wildcards.model)}/tokens.parquet",
    output:
        "results/length/sequences/model={model}/sequences.parquet",
    log:
        "logs/join_documents/{model}.log",
    benchmark:
        "logs/join_documents/{model}.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_hash("scripts/join_documents.py"),
        length=max(config["length"]["lengths"]),
        sequences=config["length"]["sequences"],
        seed=config["length"]["seed"],
    message:
        "Joining documents: {wildcards.model}"
    script:
        "../scripts/join_documents.py"


rule run_length:
    input:
        sequences="results/length/sequences/model={model}/sequences.parquet",
        tokens=lambda wildcards: f"results/tokens/model={base_of(wildcards.model)}/tokens.parquet",
        record=record_of,
    output:
        **{stage: f"results/length/{stage}/model={{model}}/{{method}}.parquet" for stage in LENGTH_STAGES},
        # Apart from the rest: times are never the same again.
        costs="results/length/costs/model={model}/{method}.parquet",
    log:
        "logs/run_length/{model}-{method}.log",
    benchmark:
        "logs/run_length/{model}-{method}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        **ON_GPU,
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        **{key: RUN[key] for key in ("device", "dtype")},
        code=code_hash("scripts/run_length.py"),
        random_seed=lambda wildcards: MODELS[wildcards.model],
        options=lambda wildcards: LENGTH_OPTIONS[wildcards.method],
    message:
        "Running past the training length: {wildcards.model}, {wildcards.method}"
    script:
        "../scripts/run_length.py"


rule compare_outputs:
    input:
        [f"results/length/outputs/model={{model}}/{method}.parquet" for method in LENGTH["methods"]],
    output:
        distances="results/length/distances/model={model}/distances.parquet",
        clouds="results/length/clouds/model={model}/clouds.parquet",
    log:
        "logs/compare_outputs/{model}.log",
    benchmark:
        "logs/compare_outputs/{model}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        code=code_hash("scripts/compare_outputs.py"),
        seed=config["length"]["seed"],
    message:
        "Comparing attention outputs: {wildcards.model}"
    script:
        "../scripts/compare_outputs.py"


rule tabulate_length:
    input:
        losses=BY_METHOD["losses"],
        passkeys=BY_METHOD["passkeys"],
        attention=BY_METHOD["attention"],
        components=BY_METHOD["components"],
        distances=COMPARED["distances"],
        clouds=COMPARED["clouds"],
    output:
        csv="results/tables/length.csv",
    log:
        "logs/tabulate_length.log",
    benchmark:
        "logs/tabulate_length.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/tabulate_length.py"),
        models=LENGTH_MODELS,
        methods=config["length"]["methods"],
        samples=config["fits"]["bootstrap_samples"],
        seed=config["fits"]["bootstrap_seed"],
    message:
        "Tabulating the lengths"
    script:
        "../scripts/tabulate_length.py"


rule tabulate_costs:
    input:
        BY_METHOD["costs"],
    output:
        csv="results/tables/length_costs.csv",
    log:
        "logs/tabulate_costs.log",
    benchmark:
        "logs/tabulate_costs.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        code=code_hash("scripts/tabulate_costs.py"),
        models=LENGTH_MODELS,
        methods=config["length"]["methods"],
    message:
        "Tabulating time and memory"
    script:
        "../scripts/tabulate_costs.py"


LENGTH_PLOTTED = {"models": LENGTH_MODELS, "methods": LENGTH["methods"]}
EXPERIMENTS["length"] = Experiment(
    category="7. Length",
    tables={"length": "loss, outputs and attention by method and length"},
    stages={
        "length_sequences": expand("results/length/sequences/model={model}/sequences.parquet", model=LENGTH_MODELS),
        **{f"length_{stage}": BY_METHOD[stage] for stage in LENGTH_STAGES},
        **{f"length_{stage}": COMPARED[stage] for stage in ("distances", "clouds")},
    },
    large=["length_components", "length_outputs", "length_clouds"],
    times={
        "tables": {"length_costs": "time and memory"},
        "stages": {"length_costs": BY_METHOD["costs"]},
        "figures": ["length_costs"],
    },
    figures={
        "length_loss": Figure(
            {"losses": BY_METHOD["losses"]},
            "loss against position",
            samples=config["fits"]["bootstrap_samples"],
            seed=config["fits"]["bootstrap_seed"],
            **LENGTH_PLOTTED,
        ),
        "length_clouds": Figure(
            {"clouds": COMPARED["clouds"], "distances": COMPARED["distances"]},
            "clouds of outputs",
            methods=LENGTH["methods"],
        ),
        "length_outliers": Figure(
            {"table": "results/tables/length.csv"}, "outputs against the reference", **LENGTH_PLOTTED
        ),
        "length_attention": Figure({"table": "results/tables/length.csv"}, "attention", **LENGTH_PLOTTED),
        "length_components": Figure({"components": BY_METHOD["components"]}, "distance components"),
        "length_passkeys": Figure({"passkeys": BY_METHOD["passkeys"]}, "passkeys", **LENGTH_PLOTTED),
        "length_costs": Figure(
            {"table": "results/tables/length_costs.csv"}, "time and memory against length", methods=LENGTH["methods"]
        ),
    },
)


rule length:
    input:
        outputs_of("length"),
    localrule: True
