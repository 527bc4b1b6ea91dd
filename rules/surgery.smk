# What a model loses when its logits become a sum of position and meaning.


rule calibrate_surgery:
    input:
        tokens=lambda wildcards: f"results/tokens/model={base_of(wildcards.model)}/tokens.parquet",
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
        **ON_GPU,
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        **RUN,
        **{key: config["surgery"][key] for key in ("calibration", "selection")},
        code=code_hash("scripts/calibrate_surgery.py"),
        random_seed=lambda wildcards: MODELS[wildcards.model],
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
        others="results/calibration_sequences/model={model}/sequences.parquet",
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
        **ON_GPU,
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        **RUN,
        code=code_hash("scripts/run_surgery.py"),
        random_seed=lambda wildcards: MODELS[wildcards.model],
        calibration=config["surgery"]["calibration"],
        # A control is run as a whole only: its parts say nothing.
        surgery=lambda wildcards: {
            key: config["surgery"][key] for key in ("sequences", "stepwise", "step_sequences", "heads_of_layers")
        }
        | ({"stepwise": []} if is_control(wildcards.model) else {}),
    message:
        "Running surgery: {wildcards.model}"
    script:
        "../scripts/run_surgery.py"


rule run_bands:
    input:
        sequences="results/sequences/model={model}/shard-0000.parquet",
        parameters="results/calibration/model={model}/parameters.parquet",
        record=record_of,
    output:
        "results/bands/model={model}/bands.parquet",
    log:
        "logs/run_bands/{model}.log",
    benchmark:
        "logs/run_bands/{model}.tsv"
    wildcard_constraints:
        model=one_of(ROTARY_BASES),
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        **ON_GPU,
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        **RUN,
        code=code_hash("scripts/run_bands.py"),
        taken=config["surgery"]["sequences"],
        edges=config["surgery"]["bands"],
    message:
        "Changing bands of frequencies: {wildcards.model}"
    script:
        "../scripts/run_bands.py"


rule tabulate_surgery:
    input:
        expand("results/surgery/model={model}/surgery.parquet", model=ROTARY),
    output:
        csv="results/tables/surgery.csv",
    log:
        "logs/tabulate_surgery.log",
    benchmark:
        "logs/tabulate_surgery.tsv"
    localrule: True
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


rule tabulate_bands:
    input:
        bands=expand("results/bands/model={model}/bands.parquet", model=ROTARY_BASES),
        patterns=shards_of("patterns", ROTARY_BASES),
    output:
        csv="results/tables/surgery_bands.csv",
    log:
        "logs/tabulate_bands.log",
    benchmark:
        "logs/tabulate_bands.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/tabulate_bands.py"),
        models=ROTARY_BASES,
        samples=config["fits"]["bootstrap_samples"],
        seed=config["fits"]["bootstrap_seed"],
    message:
        "Tabulating the surgery by frequency"
    script:
        "../scripts/tabulate_bands.py"


# Models whose bands of frequencies are changed, one at a time.
BANDED = ROTARY_BASES if config["surgery"]["bands"] else []


EXPERIMENTS["surgery"] = Experiment(
    category="4. Surgery",
    tables={
        "surgery": "loss on additive logits",
        **({"surgery_bands": "loss with a band of frequencies changed"} if BANDED else {}),
    },
    stages={
        "calibration": expand("results/calibration/model={model}/parameters.parquet", model=ROTARY),
        "calibration_sequences": expand("results/calibration_sequences/model={model}/sequences.parquet", model=ROTARY),
        "surgery": expand("results/surgery/model={model}/surgery.parquet", model=ROTARY),
        "bands": expand("results/bands/model={model}/bands.parquet", model=BANDED),
    },
    figures={
        "surgery": Figure(
            {"table": "results/tables/surgery.csv"}, "loss of each additive variant", models=ROTARY_BASES
        ),
        "bands": Figure(
            {"table": "results/tables/surgery_bands.csv"},
            "loss with a band of frequencies changed, {model}",
            each=BANDED,
        ),
        "steps": Figure(
            {"surgery": "results/surgery/model={model}/surgery.parquet"},
            "loss by layer and head, {model}",
            each=ROTARY_BASES if config["surgery"]["stepwise"] else [],
            variant=(config["surgery"]["stepwise"] or ["f+g"])[0],
        ),
    },
)


rule surgery:
    input:
        outputs_of("surgery"),
    localrule: True
