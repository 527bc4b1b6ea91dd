# What closes a run: figures, the database, the manifest and Snakemake's own report.


report: "../report/workflow.rst"


# One rule a figure, so that a change of one draws that one only.
for experiment, own in EXPERIMENTS.items():
    for figure, drawn in own.figures.items():

        rule:
            name:
                f"plot_{figure}"
            input:
                **drawn.inputs,
            output:
                drawn.path(figure, drawn.shown),
                [drawn.path(figure, kind) for kind in ("pdf", "svg", "png") if kind != drawn.shown],
            log:
                drawn.log(figure, "log"),
            benchmark:
                drawn.log(figure, "tsv")
            localrule: True
            conda:
                "../envs/analysis.yaml"
            threads: 1
            resources:
                mem_mb=2000,
                runtime=10,
            params:
                code=code_hash("scripts/plot_figure.py", f"scripts/triaxis/{experiment}/figures.py"),
                module=f"triaxis.{experiment}.figures",
                figure=figure,
                options=drawn.options,
            message:
                f"Plotting {drawn.label.replace('{model}', '{wildcards.model}')}"
            script:
                "../scripts/plot_figure.py"


MADE = [EXPERIMENTS[name] for name in CHOSEN]
TABLES = [table for made in MADE for table in csv_of(made.tables)]
STAGES = {stage: files for made in MADE for stage, files in made.stages.items() if files}
# In report and database, but of no manifest: times are never the same again.
TIMED = [made.times for made in MADE if made.times]
TIMES_TABLES = [table for times in TIMED for table in csv_of(times["tables"])]
TIMES_STAGES = {stage: files for times in TIMED for stage, files in times["stages"].items() if files}
TIMES_FIGURES = [figure for times in TIMED for figure in times["figures"]]
DRAWN = {figure: drawn.files(figure) for made in MADE for figure, drawn in made.figures.items()}


# What triaxis.duckdb only shows, and what it holds. A corpus may be of any size.
LARGE = ["documents", "tokens", *(stage for made in MADE for stage in made.large)]
TEXT_STAGES = {
    "documents": ["results/documents.parquet"],
    "tokens": expand("results/tokens/model={base}/tokens.parquet", base=BASES),
}
QUERIED = TEXT_STAGES | STAGES | TIMES_STAGES
HELD = {stage: files for stage, files in QUERIED.items() if stage not in LARGE}


rule build_database:
    input:
        HELD.values(),
        # A view finds the further files itself.
        [files[0] for stage, files in QUERIED.items() if stage in LARGE],
        TABLES + TIMES_TABLES,
    output:
        "results/triaxis.duckdb",
    log:
        "logs/build_database.log",
    benchmark:
        "logs/build_database.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/build_database.py"),
        stages=HELD,
        # A whole stage, so that a view finds the shards of a later run too.
        large={
            stage: re.sub("model=.*", "**/*.parquet", files[0]) for stage, files in QUERIED.items() if stage in LARGE
        },
        tables={Path(table).stem: table for table in TABLES + TIMES_TABLES},
    message:
        "Building triaxis.duckdb"
    script:
        "../scripts/build_database.py"


# What says what a run was made of: records of what was fetched, on what each model ran, and what tokenizers lose.
MADE_OF = {
    "records": [kept_here(f"resources/{name}.json") for name in [*(f"models/{base}" for base in BASES), "corpus"]],
    "made": [made_by(model) for model in MODELS],
    "tokens": expand("results/tokens/model={base}/tokens.parquet", base=BASES),
}
FIGURE_TABLES = [table for made in MADE for table in csv_of(made.figure_tables)]

# The report's first category, and then the pages of each experiment: (category, place in it, page). Snakemake sorts
# labels as texts, so all places of a category are as long as each other.
THIS_RUN = "0. This run"
PAGES = [
    (own.category, f"{place:0{len(str(len(own.pages())))}d}", page)
    for own in MADE
    for place, page in enumerate(own.pages(), 1)
]
PAGE_FILES = ["results/pages/summary.html", *(page.path for _, _, page in PAGES)]


rule build_explorer:
    input:
        [file for model in MODELS for files in explored(model).values() for file in files],
    output:
        "results/explorer.html",
    log:
        "logs/build_explorer.log",
    benchmark:
        "logs/build_explorer.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        # A layer's matrices of the tokens that are shown.
        mem_mb=growing(3000),
        runtime=growing(30),
    params:
        code=code_hash("scripts/build_explorer.py"),
        # How many files each stage of each model has: the inputs, told apart.
        stages={model: {stage: len(files) for stage, files in explored(model).items()} for model in MODELS},
        length=config["sequences"]["length"],
        explorer=config["explorer"],
    message:
        "Building the explorer"
    script:
        "../scripts/build_explorer.py"


rule write_pages:
    input:
        **MADE_OF,
        headline="results/tables/headline.csv",
        sources=[page.source for _, _, page in PAGES],
        # In the place of a drawing that is too large for a page.
        images=[page.source.replace(".svg", ".png") for _, _, page in PAGES if page.source.endswith(".svg")],
    output:
        summary=report(
            "results/pages/summary.html",
            category=THIS_RUN,
            labels={"result": "the headline, and what was run"},
        ),
        pages=[
            report(page.path, category=category, labels={"result": f"{place}. {page.label}{page.kind}"})
            for category, place, page in PAGES
        ],
    log:
        "logs/write_pages.log",
    benchmark:
        "logs/write_pages.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/write_pages.py"),
        captions=None if REMOTE else digest_of(*{f"report/{page.caption}.rst" for _, _, page in PAGES}),
        models=list(MODELS),
        bases=list(BASES),
        config=config,
        experiments=CHOSEN,
        # What each is called, whose caption it has, and the model of that.
        pages=[[page.label, page.caption, page.model] for _, _, page in PAGES],
    message:
        "Writing the pages of the report"
    script:
        "../scripts/write_pages.py"


rule compile_paper:
    input:
        **MADE_OF,
        tables=TABLES + FIGURE_TABLES,
        figures=[file for figure, files in DRAWN.items() if figure not in TIMES_FIGURES for file in files],
    output:
        pdf="results/paper.pdf",
        facts="results/paper.json",
    log:
        "logs/compile_paper.log",
    benchmark:
        "logs/compile_paper.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/compile_paper.py"),
        text=None if REMOTE else digest_of("paper/**/*", *(f"report/{figure}.rst" for figure in DRAWN)),
        models=list(MODELS),
        bases=list(BASES),
        config=config,
        # Each experiment's figures, and of each its files with their models.
        experiments=[
            [
                name,
                [
                    [figure, list(zip(drawn.files(figure), drawn.each or [None]))]
                    for figure, drawn in EXPERIMENTS[name].figures.items()
                    if figure not in TIMES_FIGURES
                ],
            ]
            for name in CHOSEN
        ],
    message:
        "Setting the paper"
    script:
        "../scripts/compile_paper.py"


rule write_manifest:
    input:
        **MADE_OF,
        artefacts=[
            "results/documents.parquet",
            STAGES.values(),
            [file for figure, files in DRAWN.items() if figure not in TIMES_FIGURES for file in files],
            TABLES,
            FIGURE_TABLES,
            [file for made in MADE for file in made.others],
            "results/tables/headline.tex",
            "results/explorer.html",
            # Snakemake fetches no folder of a remote source, and so no text of a paper.
            [] if REMOTE else "results/paper.pdf",
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
        bases=list(BASES),
        config=config,
    message:
        "Writing the manifest"
    script:
        "../scripts/write_manifest.py"


rule render_report:
    input:
        PAGE_FILES,
        words=[] if REMOTE else local(relpath(PROJECT / "report/workflow.rst")),
    output:
        "results/report.html",
    log:
        "logs/render_report.log",
    benchmark:
        "logs/render_report.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/render_report.py"),
        targets=PAGE_FILES,
        config=config,
        storage=storage_options(),
        # Relative, so that a project that moves does not rerun.
        snakefile=None if REMOTE else relpath(PROJECT / "Snakefile"),
    message:
        "Rendering the report"
    script:
        "../scripts/render_report.py"
