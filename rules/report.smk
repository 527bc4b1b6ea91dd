# What closes a run: the manifest and Snakemake's own report.

FIGURES = [
    "results/figures/heads.svg",
    "results/figures/axes.svg",
    "results/figures/distance.svg",
    *expand("results/figures/matrices-{model}.png", model=MODELS if KEEP != "none" else []),
]
if ROTARY:
    FIGURES += expand("results/figures/{figure}.svg", figure=["additive", "pairs", "contributions", "dummies"])
    FIGURES += expand("results/figures/surface-{model}.png", model=ROTARY)
    FIGURES += expand("results/figures/length_short-{figure}.svg", figure=LENGTH_FIGURES)
TABLES = expand("results/tables/{table}.csv", table=["headline", "axes", *ROTARY_TABLES])
FIGURE_TABLES = expand(
    "results/tables/{table}.csv", table=["heads", *(["additive", "pairs", "dummies"] if ROTARY else [])]
)
# In the report, but of no manifest: times are never the same again.
TIMES = ["results/figures/length_short-costs.svg", "results/tables/length_short_costs.csv"] if ROTARY else []


rule write_manifest:
    input:
        records=[
            kept_here(f"resources/{name}.json")
            for name in [*(f"models/{base}" for base in config["models"]), "corpus"]
        ],
        made=[made_by(model) for model in MODELS],
        tokens=expand("results/tokens/model={base}/tokens.parquet", base=config["models"]),
        artefacts=[
            "results/documents.parquet",
            [shards_of(stage, models) for stage, models in STAGES.items()],
            FIGURES,
            TABLES,
            FIGURE_TABLES,
            "results/tables/headline.tex",
            [all_lengths("length_short", stage) for stage in LENGTH_STAGES],
            [compared("length_short", stage) for stage in ("distances", "clouds")],
            expand("results/length_short/sequences/model={base}/sequences.parquet", base=config["models"]),
        ],
    output:
        "results/manifest.json",
    log:
        "logs/write_manifest.log",
    benchmark:
        "logs/write_manifest.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        code=code_hash("scripts/write_manifest.py"),
        models=list(MODELS),
        bases=list(config["models"]),
        config=config,
    message:
        "Writing the manifest"
    script:
        "../scripts/write_manifest.py"


rule render_report:
    input:
        FIGURES,
        TABLES,
        TIMES,
        captions=[local(relpath(path)) for path in sorted(glob(f"{workflow.current_basedir}/../report/*.rst"))],
    output:
        "results/report.html",
    log:
        "logs/render_report.log",
    benchmark:
        "logs/render_report.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/render_report.py"),
        targets=[*FIGURES, *TABLES, *TIMES],
        config=config,
        storage=storage_options(),
        # Relative, so that a project that moves does not rerun.
        snakefile=relpath(workflow.main_snakefile),
    message:
        "Rendering the report"
    script:
        "../scripts/render_report.py"
