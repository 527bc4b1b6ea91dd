# Past the training length. Two runs of one kind: `length`, a target of its own, past the model's own training length, and
# `length_short`, in every run, with a training length that is not the model's own.

LENGTH_STAGES = ["losses", "attention", "passkeys", "components", "outputs"]
LENGTH_VIEWS = ["sequences", *LENGTH_STAGES, "costs", "distances", "clouds"]
LENGTH_FIGURES = ["loss", "clouds", "outliers", "attention", "components", "passkeys"]


rule length:
    input:
        "results/tables/length.csv",
        "results/tables/length_costs.csv",
        expand("results/figures/length-{figure}.pdf", figure=[*LENGTH_FIGURES, "costs"]),


rule join_documents:
    input:
        lambda wildcards: f"results/tokens/model={base_of(wildcards)}/tokens.parquet",
    output:
        "results/length{run}/sequences/model={model}/sequences.parquet",
    log:
        "logs/join_documents/length{run}-{model}.log",
    benchmark:
        "logs/join_documents/length{run}-{model}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_hash("scripts/join_documents.py"),
        length=lambda wildcards: max(config[run_of(wildcards)]["lengths"]),
        sequences=lambda wildcards: config[run_of(wildcards)]["sequences"],
        seed=lambda wildcards: config[run_of(wildcards)]["seed"],
    message:
        "Joining documents: length{wildcards.run}, {wildcards.model}"
    script:
        "../scripts/join_documents.py"


rule run_length:
    input:
        sequences="results/length{run}/sequences/model={model}/sequences.parquet",
        tokens=lambda wildcards: f"results/tokens/model={base_of(wildcards)}/tokens.parquet",
        record=record_of,
    output:
        **{stage: f"results/length{{run}}/{stage}/model={{model}}/{{method}}.parquet" for stage in LENGTH_STAGES},
        # Apart from the rest: times are never the same again.
        costs="results/length{run}/costs/model={model}/{method}.parquet",
    log:
        "logs/run_length/length{run}-{model}-{method}.log",
    benchmark:
        "logs/run_length/length{run}-{model}-{method}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        code=code_hash("scripts/run_length.py"),
        device=config["features"]["device"],
        dtype=config["features"]["dtype"],
        random_seed=lambda wildcards: MODELS[wildcards.model],
        options=length_options,
    message:
        "Running past the training length: length{wildcards.run}, {wildcards.model}, {wildcards.method}"
    script:
        "../scripts/run_length.py"


rule compare_outputs:
    input:
        lambda wildcards: length_of(run_of(wildcards), "outputs", wildcards.model),
    output:
        distances="results/length{run}/distances/model={model}/distances.parquet",
        clouds="results/length{run}/clouds/model={model}/clouds.parquet",
    log:
        "logs/compare_outputs/length{run}-{model}.log",
    benchmark:
        "logs/compare_outputs/length{run}-{model}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        code=code_hash("scripts/compare_outputs.py"),
        seed=lambda wildcards: config[run_of(wildcards)]["seed"],
    message:
        "Comparing attention outputs: length{wildcards.run}, {wildcards.model}"
    script:
        "../scripts/compare_outputs.py"


rule tabulate_length:
    input:
        losses=lambda wildcards: all_lengths(run_of(wildcards), "losses"),
        passkeys=lambda wildcards: all_lengths(run_of(wildcards), "passkeys"),
        attention=lambda wildcards: all_lengths(run_of(wildcards), "attention"),
        components=lambda wildcards: all_lengths(run_of(wildcards), "components"),
        distances=lambda wildcards: compared(run_of(wildcards), "distances"),
    output:
        csv=report(
            "results/tables/length{run}.csv",
            caption="../report/length_table.rst",
            category="Length",
            labels={"result": "length{run}: loss, outputs and attention by method and length"},
        ),
    log:
        "logs/tabulate_length/length{run}.log",
    benchmark:
        "logs/tabulate_length/length{run}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/tabulate_length.py"),
        models=ROTARY_BASES,
        methods=lambda wildcards: config[run_of(wildcards)]["methods"],
    message:
        "Tabulating the lengths: length{wildcards.run}"
    script:
        "../scripts/tabulate_length.py"


rule tabulate_costs:
    input:
        lambda wildcards: all_lengths(run_of(wildcards), "costs"),
    output:
        csv=report(
            "results/tables/length{run}_costs.csv",
            caption="../report/length_costs_table.rst",
            category="Length",
            labels={"result": "length{run}: time and memory"},
        ),
    log:
        "logs/tabulate_costs/length{run}.log",
    benchmark:
        "logs/tabulate_costs/length{run}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        code=code_hash("scripts/tabulate_costs.py"),
        models=ROTARY_BASES,
        methods=lambda wildcards: config[run_of(wildcards)]["methods"],
    message:
        "Tabulating time and memory: length{wildcards.run}"
    script:
        "../scripts/tabulate_costs.py"


rule plot_length:
    input:
        losses=lambda wildcards: all_lengths(run_of(wildcards), "losses"),
        clouds=lambda wildcards: compared(run_of(wildcards), "clouds"),
        distances=lambda wildcards: compared(run_of(wildcards), "distances"),
        components=lambda wildcards: all_lengths(run_of(wildcards), "components"),
        passkeys=lambda wildcards: all_lengths(run_of(wildcards), "passkeys"),
        table="results/tables/length{run}.csv",
    output:
        **{
            f"{figure}_svg": report(
                f"results/figures/length{{run}}-{figure}.svg",
                caption=f"../report/length_{figure}.rst",
                category="Length",
                labels={"result": f"length{{run}}: {figure}"},
            )
            for figure in LENGTH_FIGURES
        },
        **{
            f"{figure}_{kind}": f"results/figures/length{{run}}-{figure}.{kind}"
            for figure in LENGTH_FIGURES
            for kind in ("pdf", "png")
        },
    log:
        "logs/plot_length/length{run}.log",
    benchmark:
        "logs/plot_length/length{run}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_length.py"),
        figures=LENGTH_FIGURES,
        methods=lambda wildcards: config[run_of(wildcards)]["methods"],
        models=ROTARY_BASES,
    message:
        "Plotting the lengths: length{wildcards.run}"
    script:
        "../scripts/plot_length.py"


rule plot_costs:
    input:
        "results/tables/length{run}_costs.csv",
    output:
        report(
            "results/figures/length{run}-costs.svg",
            caption="../report/length_costs.rst",
            category="Length",
            labels={"result": "length{run}: time and memory against length"},
        ),
        "results/figures/length{run}-costs.pdf",
        "results/figures/length{run}-costs.png",
    log:
        "logs/plot_costs/length{run}.log",
    benchmark:
        "logs/plot_costs/length{run}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_costs.py"),
        methods=lambda wildcards: config[run_of(wildcards)]["methods"],
    message:
        "Plotting time and memory: length{wildcards.run}"
    script:
        "../scripts/plot_costs.py"
