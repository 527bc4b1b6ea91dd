# The paper's tables, and a database over everything.

# Stage by stage, what triaxis.duckdb shows, and of which models.
STAGES = {
    "sequences": MODELS,
    "features": ROTARY,
    "rope": ROTARY,
    "logits": MODELS if KEEP != "none" else [],
    **dict.fromkeys(["sums", "fits", "components"], MODELS),
    **dict.fromkeys(MECHANISM, ROTARY),
}
STAGES = {stage: models for stage, models in STAGES.items() if models}
ROTARY_TABLES = ["mechanism", "expressivity", "length_short"] if ROTARY else []


rule tabulate_fits:
    input:
        shards_of("fits"),
    output:
        axes=report(
            "results/tables/axes.csv",
            caption="../report/axes_table.rst",
            category="Three-axis fit",
            labels={"result": "every combination of axes"},
        ),
        heads="results/tables/heads.csv",
    log:
        "logs/tabulate_fits.log",
    benchmark:
        "logs/tabulate_fits.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
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
        mechanism=["results/tables/mechanism.csv"] if ROTARY else [],
    output:
        csv=report(
            "results/tables/headline.csv",
            caption="../report/headline.rst",
            category="Three-axis fit",
            labels={"result": "headline table"},
        ),
        tex="results/tables/headline.tex",
    log:
        "logs/tabulate_headline.log",
    benchmark:
        "logs/tabulate_headline.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/tabulate_headline.py"),
    message:
        "Tabulating the headline"
    script:
        "../scripts/tabulate_headline.py"


rule build_database:
    input:
        "results/documents.parquet",
        expand("results/tokens/model={base}/tokens.parquet", base=config["models"]),
        # A view finds the further shards itself, and the tables below take all of them.
        [
            expand(f"results/{stage}/model={{model}}/shard-{SHARDS[0]}.parquet", model=models)
            for stage, models in STAGES.items()
        ],
        expand("results/tables/{table}.csv", table=["headline", *ROTARY_TABLES]),
        length_files("length_short"),
    output:
        "results/triaxis.duckdb",
    log:
        "logs/build_database.log",
    benchmark:
        "logs/build_database.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/build_database.py"),
        views={
            "documents": "results/documents.parquet",
            "tokens": "results/tokens/model=*/*.parquet",
            **{stage: f"results/{stage}/model=*/*.parquet" for stage in STAGES},
            **{
                f"length_short_{stage}": f"results/length_short/{stage}/model=*/*.parquet"
                for stage in LENGTH_VIEWS
                if ROTARY
            },
        },
        tables={name: f"results/tables/{name}.csv" for name in ["headline", *ROTARY_TABLES]},
    message:
        "Building triaxis.duckdb"
    script:
        "../scripts/build_database.py"
