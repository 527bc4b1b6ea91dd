# What a model loses when its logits become a sum of position and meaning. The other stage that runs a model, many times,
# and so a target of its own: `snakemake surgery`.


rule surgery:
    input:
        "results/tables/surgery.csv",
        "results/figures/surgery.pdf",
        expand("results/figures/steps-{base}.pdf", base=ROTARY_BASES if config["surgery"]["stepwise"] else []),


rule calibrate_surgery:
    input:
        tokens=lambda wildcards: f"results/tokens/model={base_of(wildcards)}/tokens.parquet",
        record=record_of,
    output:
        parameters="results/calibration/model={model}/parameters.parquet",
        sequences="results/calibration_sequences/model={model}/sequences.parquet",
    log:
        "logs/calibrate_surgery/{model}.log",
    benchmark:
        "logs/calibrate_surgery/{model}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        **RUN,
        code=code_hash("scripts/calibrate_surgery.py"),
        random_seed=lambda wildcards: MODELS[wildcards.model],
        calibration=config["surgery"]["calibration"],
        length=config["sequences"]["length"],
        # Surgery measures on the first shard alone, so that more sequences leave its calibration as it was.
        taken=min(config["sequences"]["count"], SHARD_SIZE),
        seed=config["sequences"]["seed"],
    message:
        "Calibrating additive logits: {wildcards.model}"
    script:
        "../scripts/calibrate_surgery.py"


rule run_surgery:
    input:
        sequences="results/sequences/model={model}/shard-0000.parquet",
        parameters="results/calibration/model={model}/parameters.parquet",
        record=record_of,
    output:
        "results/surgery/model={model}/surgery.parquet",
    log:
        "logs/run_surgery/{model}.log",
    benchmark:
        "logs/run_surgery/{model}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        **RUN,
        code=code_hash("scripts/run_surgery.py"),
        random_seed=lambda wildcards: MODELS[wildcards.model],
        surgery=surgery_of,
    message:
        "Running surgery: {wildcards.model}"
    script:
        "../scripts/run_surgery.py"


rule tabulate_surgery:
    input:
        expand("results/surgery/model={model}/surgery.parquet", model=ROTARY),
    output:
        csv=report(
            "results/tables/surgery.csv",
            caption="../report/surgery_table.rst",
            category="Surgery",
            labels={"result": "loss on additive logits"},
        ),
    log:
        "logs/tabulate_surgery.log",
    benchmark:
        "logs/tabulate_surgery.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/tabulate_surgery.py"),
        models=ROTARY,
        samples=config["fits"]["bootstrap_samples"],
        seed=config["fits"]["bootstrap_seed"],
    message:
        "Tabulating the surgery"
    script:
        "../scripts/tabulate_surgery.py"


rule plot_surgery:
    input:
        "results/tables/surgery.csv",
    output:
        report(
            "results/figures/surgery.svg",
            caption="../report/surgery.rst",
            category="Surgery",
            labels={"result": "loss of each additive variant"},
        ),
        "results/figures/surgery.pdf",
        "results/figures/surgery.png",
    log:
        "logs/plot_surgery.log",
    benchmark:
        "logs/plot_surgery.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_surgery.py"),
        models=ROTARY_BASES,
    message:
        "Plotting the loss under surgery"
    script:
        "../scripts/plot_surgery.py"


rule plot_steps:
    input:
        "results/surgery/model={model}/surgery.parquet",
    output:
        report(
            "results/figures/steps-{model}.svg",
            caption="../report/steps.rst",
            category="Surgery",
            labels={"result": "loss by layer and head, {model}"},
        ),
        "results/figures/steps-{model}.pdf",
        "results/figures/steps-{model}.png",
    log:
        "logs/plot_steps/{model}.log",
    benchmark:
        "logs/plot_steps/{model}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_steps.py"),
        variant=config["surgery"]["stepwise"][0] if config["surgery"]["stepwise"] else "f+g",
    message:
        "Plotting surgery step by step: {wildcards.model}"
    script:
        "../scripts/plot_steps.py"
