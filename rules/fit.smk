# From queries and keys to fits. With `logits.keep: all`, by way of logits/ and sums/; else straight from features/, in time
# and memory linear in the length. Models captured at the softmax have no features: their logits are summed as they come.

# The first tokens of each sequence that are fitted, so many: all of them, and fits.prefixes.
LENGTHS = [config["sequences"]["length"], *config["fits"]["prefixes"]]

# Models whose fits are made of sums/.
SUMMED = MODELS if KEEP == "all" else CAPTURED

# The cells of a (layer, head) that logits/ has, if it is a sample.
SAMPLE = config["logits"]["sample_cells"] if KEEP == "sample" else None


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
        **ON_GPU,
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        **RUN,
        code=code_hash("scripts/extract_features.py"),
        random_seed=lambda wildcards: MODELS[wildcards.model],
        features=config["features"],
    message:
        "Extracting queries and keys: {wildcards.model}, shard {wildcards.shard}"
    script:
        "../scripts/extract_features.py"


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
        # A job on one core starts as soon as one is free; shards are what fills many.
        threads: 1
        resources:
            # One layer at a time: 40 bytes a logit, of 32 heads; a sample's matrices have twice the causal cells.
            mem_mb=by_length(4000, 32 * 40, most=SAMPLE and 2 * SAMPLE),
            runtime=growing(60),
        params:
            code=code_hash("scripts/dump_logits.py"),
            heads=config["logits"]["heads"],
            sample=SAMPLE,
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
            **ON_GPU,
            # The model, and as dump_logits.
            mem_mb=by_length(8000, 32 * 40),
            runtime=growing(60),
        params:
            **RUN,
            code=code_hash("scripts/capture_logits.py"),
            random_seed=lambda wildcards: MODELS[wildcards.model],
            layers=config["features"]["layers"],
            heads=config["logits"]["heads"],
            sample=SAMPLE,
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
        # A job on one core starts as soon as one is free; shards are what fills many.
        threads: 1
        resources:
            # DuckDB gets what Python and one batch of rows leave: 1 GiB.
            mem_mb=growing(1536),
            runtime=growing(60),
        params:
            code=code_hash("scripts/sum_logits.py"),
            lengths=LENGTHS,
            heldout_seed=config["fits"]["heldout_seed"],
        message:
            "Summing logits: {wildcards.model}, shard {wildcards.shard}"
        script:
            "../scripts/sum_logits.py"


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
            **ON_GPU,
            # The model, and one layer at a time: 64 bytes a logit, of 32 heads.
            mem_mb=by_length(8000, 32 * 64),
            runtime=growing(60),
        params:
            **RUN,
            code=code_hash("scripts/sum_captured.py"),
            random_seed=lambda wildcards: MODELS[wildcards.model],
            layers=config["features"]["layers"],
            heads=config["logits"]["heads"],
            lengths=LENGTHS,
            heldout_seed=config["fits"]["heldout_seed"],
        message:
            "Summing captured logits unwritten: {wildcards.model}, shard {wildcards.shard}"
        script:
            "../scripts/sum_captured.py"


if SUMMED:

    rule fit_axes:
        input:
            "results/sums/model={model}/shard-{shard}.parquet",
        output:
            fits="results/fits/model={model}/shard-{shard}.parquet",
            components="results/components/model={model}/shard-{shard}.parquet",
        log:
            "logs/fit_axes/{model}-{shard}.log",
        benchmark:
            "logs/fit_axes/{model}-{shard}.tsv"
        wildcard_constraints:
            model=one_of(SUMMED),
        conda:
            "../envs/gpu.yaml"
        # Many small products: two jobs side by side are faster than one on two threads.
        threads: 1
        resources:
            mem_mb=growing(4000),
            runtime=growing(30),
        params:
            code=code_hash("scripts/fit_axes.py"),
            lengths=LENGTHS,
            heldout_seed=config["fits"]["heldout_seed"],
        message:
            "Fitting three axes: {wildcards.model}, shard {wildcards.shard}"
        script:
            "../scripts/fit_axes.py"


if KEEP != "all" and ROTARY:

    rule fit_features:
        input:
            features="results/features/model={model}/shard-{shard}.parquet",
            rope="results/rope/model={model}/shard-{shard}.parquet",
        output:
            fits="results/fits/model={model}/shard-{shard}.parquet",
            components="results/components/model={model}/shard-{shard}.parquet",
        log:
            "logs/fit_features/{model}-{shard}.log",
        benchmark:
            "logs/fit_features/{model}-{shard}.tsv"
        wildcard_constraints:
            model=one_of(ROTARY),
        conda:
            "../envs/gpu.yaml"
        # Many small products: two jobs side by side are faster than one on two threads.
        threads: 1
        resources:
            **ON_GPU,
            # One layer at a time, of 32 heads.
            mem_mb=by_tokens(4000, 150_000),
            runtime=growing(60),
        params:
            code=code_hash("scripts/fit_features.py"),
            device=RUN["device"],
            heads=config["logits"]["heads"],
            lengths=LENGTHS,
            heldout_seed=config["fits"]["heldout_seed"],
        message:
            "Fitting three axes: {wildcards.model}, shard {wildcards.shard}"
        script:
            "../scripts/fit_features.py"


rule tabulate_fits:
    input:
        shards_of("fits"),
    output:
        axes="results/tables/axes.csv",
        r="results/tables/r_by_head.csv",
    log:
        "logs/tabulate_fits.log",
    benchmark:
        "logs/tabulate_fits.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("scripts/tabulate_fits.py"),
        models=list(MODELS),
        samples=config["fits"]["bootstrap_samples"],
        seed=config["fits"]["bootstrap_seed"],
    message:
        "Tabulating the fits"
    script:
        "../scripts/tabulate_fits.py"


rule tabulate_headline:
    input:
        axes="results/tables/axes.csv",
        mechanism=["results/tables/mechanism.csv"] if "mechanism" in CHOSEN else [],
    output:
        csv="results/tables/headline.csv",
        tex="results/tables/headline.tex",
    log:
        "logs/tabulate_headline.log",
    benchmark:
        "logs/tabulate_headline.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/tabulate_headline.py"),
        rotary=ROTARY,
    message:
        "Tabulating the headline"
    script:
        "../scripts/tabulate_headline.py"


if config["fits"]["prefixes"]:

    rule tabulate_prefixes:
        input:
            fits=shards_of("fits"),
            records=expand(kept_here("resources/models/{base}.json"), base=BASES),
            additive=["results/tables/additive_prefixes.csv"] if "mechanism" in CHOSEN else [],
        output:
            "results/tables/prefixes.csv",
        log:
            "logs/tabulate_prefixes.log",
        benchmark:
            "logs/tabulate_prefixes.tsv"
        conda:
            "../envs/gpu.yaml"
        threads: 1
        resources:
            mem_mb=growing(2000),
            runtime=growing(30),
        params:
            code=code_hash("scripts/tabulate_prefixes.py"),
            # Each model and whose configuration says its training length.
            bases={model: base_of(model) for model in MODELS},
            training_length=config["length"]["training_length"],
            samples=config["fits"]["bootstrap_samples"],
            seed=config["fits"]["bootstrap_seed"],
        message:
            "Tabulating the fits of the first tokens"
        script:
            "../scripts/tabulate_prefixes.py"


# Against the number of parameters only what has several: the checkpoints of one entry have one.
SCALED = len({entry_of(base) for base in BASES}) > 1

if SCALED:

    rule tabulate_scale:
        input:
            axes="results/tables/axes.csv",
            mechanism=["results/tables/mechanism.csv"] if "mechanism" in CHOSEN else [],
            records=expand(kept_here("resources/models/{base}.json"), base=BASES),
        output:
            "results/tables/scale.csv",
        log:
            "logs/tabulate_scale.log",
        benchmark:
            "logs/tabulate_scale.tsv"
        conda:
            "../envs/gpu.yaml"
        threads: 1
        resources:
            mem_mb=growing(2000),
            runtime=growing(10),
        params:
            code=code_hash("scripts/tabulate_scale.py"),
            # Each model and whose configuration says its size.
            bases={model: base_of(model) for model in MODELS},
        message:
            "Tabulating the models by size"
        script:
            "../scripts/tabulate_scale.py"


# The stages of every run, and the models that have them.
FIT_STAGES = {
    "sequences": MODELS,
    "features": ROTARY,
    "rope": ROTARY,
    "logits": MODELS if KEEP != "none" else [],
    "sums": SUMMED,
    **dict.fromkeys(["fits", "components"], MODELS),
}
EXPERIMENTS["fit"] = Experiment(
    category="1. Three-axis fit",
    tables={
        "headline": "headline",
        "axes": "every combination of axes",
        **({"prefixes": "fits of the first tokens"} if config["fits"]["prefixes"] else {}),
    },
    figure_tables=["r_by_head", *(["scale"] if SCALED else [])],
    stages={stage: shards_of(stage, models) for stage, models in FIT_STAGES.items() if models},
    large=["features", "logits", "sums", "components"],
    figures={
        "heads": Figure({"table": "results/tables/r_by_head.csv"}, "r by layer and head", models=list(MODELS)),
        "axes": Figure(
            {"table": "results/tables/r_by_head.csv"}, "r for each combination of axes", models=list(MODELS)
        ),
        "matrices": Figure(
            {
                stage: f"results/{stage}/model={{model}}/shard-0000.parquet"
                for stage in ("fits", "logits", "components")
            },
            "logits and their fit, {model}",
            each=MODELS if KEEP != "none" else [],
            shown="png",
            length=config["sequences"]["length"],
        ),
        "distance": Figure({"components": shards_of("components")}, "distance component by layer", models=list(MODELS)),
    },
)
if config["fits"]["prefixes"]:
    EXPERIMENTS["fit"].figures["prefixes"] = Figure(
        {"table": "results/tables/prefixes.csv"}, "fits of the first tokens", models=list(MODELS)
    )
if SCALED:
    EXPERIMENTS["fit"].figures["scale"] = Figure(
        {"table": "results/tables/scale.csv"}, "what was found, by number of parameters"
    )
