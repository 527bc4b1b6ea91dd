# What perturbed order costs downstream: accuracy on tasks, under the perturbations of `tolerance`. A part of that target,
# and one of its own: `snakemake tasks`.

ITEM_TASKS = [name for name in ("cloze", "passkey", "longbench") if config["tasks"][name]]
HARNESS = config["tasks"]["harness"] or {"tasks": {}}
TASK_NAMES = ITEM_TASKS + [f"harness-{name}" for name in HARNESS["tasks"]]


wildcard_constraints:
    task="cloze|passkey|longbench",
    harness="[A-Za-z0-9._-]+",


rule tasks:
    input:
        expand("results/tables/tasks.csv" if TASK_NAMES else []),
        expand("results/figures/tasks-{base}.pdf", base=ROTARY_BASES if TASK_NAMES else []),


rule fetch_questions:
    output:
        kept_here("resources/questions.json"),
    log:
        "logs/fetch_questions.log",
    benchmark:
        "logs/fetch_questions.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=code_hash("scripts/fetch_questions.py"),
        source=lambda wildcards: config["tasks"]["longbench"]["source"],
        sha256=lambda wildcards: config["tasks"]["longbench"]["sha256"],
        lock=lambda wildcards: lock_of(LOCK, config["tasks"]["longbench"]["source"]),
        local=lambda wildcards: path_revision(fetch_corpus_files, config["tasks"]["longbench"]["source"]),
    message:
        "Fetching and verifying questions"
    script:
        "../scripts/fetch_questions.py"


rule build_items:
    input:
        documents=lambda wildcards: [] if wildcards.task == "longbench" else "results/documents.parquet",
        questions=lambda wildcards: kept_here("resources/questions.json") if wildcards.task == "longbench" else [],
        record=kept_here("resources/models/{base}.json"),
    output:
        "results/task_items/model={base}/task={task}/items.parquet",
    log:
        "logs/build_items/{base}-{task}.log",
    benchmark:
        "logs/build_items/{base}-{task}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_hash("scripts/build_items.py"),
        options=lambda wildcards: config["tasks"][wildcards.task],
        candidates=config["tasks"]["candidates"],
        seed=config["tasks"]["seed"],
    message:
        "Making the prompts: {wildcards.task} for {wildcards.base}"
    script:
        "../scripts/build_items.py"


rule run_tasks:
    input:
        prompts=lambda wildcards: f"results/task_items/model={base_of(wildcards)}/task={wildcards.task}/items.parquet",
        record=record_of,
    output:
        "results/tasks/model={model}/task={task}/tasks.parquet",
    log:
        "logs/run_tasks/{model}-{task}.log",
    benchmark:
        "logs/run_tasks/{model}-{task}.tsv"
    conda:
        "../envs/gpu.yaml"
    # Many short passes: jobs side by side are faster than one on many threads.
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        **RUN,
        code=code_hash("scripts/run_tasks.py"),
        random_seed=lambda wildcards: MODELS[wildcards.model],
        conditions=conditions_of,
        new_tokens=lambda wildcards: config["tasks"][wildcards.task].get("new_tokens", 0),
    message:
        "Running {wildcards.task}, perturbed: {wildcards.model}"
    script:
        "../scripts/run_tasks.py"


rule run_harness:
    input:
        record=record_of,
    output:
        "results/tasks/model={model}/task=harness-{harness}/tasks.parquet",
    log:
        "logs/run_harness/{model}-{harness}.log",
    benchmark:
        "logs/run_harness/{model}-{harness}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        **RUN,
        code=code_hash("scripts/run_harness.py"),
        random_seed=lambda wildcards: MODELS[wildcards.model],
        conditions=conditions_of,
        metric=lambda wildcards: HARNESS["tasks"][wildcards.harness],
        limit=HARNESS.get("limit"),
        folder=lambda wildcards: HARNESS.get("folder"),
        local=lambda wildcards: (
            path_revision(fetch_corpus_files, f"path:{HARNESS['folder']}") if HARNESS.get("folder") else None
        ),
    message:
        "Running {wildcards.harness} of lm-evaluation-harness, perturbed: {wildcards.model}"
    script:
        "../scripts/run_harness.py"


rule tabulate_tasks:
    input:
        expand("results/tasks/model={model}/task={task}/tasks.parquet", model=ROTARY, task=TASK_NAMES),
    output:
        csv=report(
            "results/tables/tasks.csv",
            caption="../report/tasks_table.rst",
            category="Tolerance",
            labels={"result": "accuracy on tasks"},
        ),
    log:
        "logs/tabulate_tasks.log",
    benchmark:
        "logs/tabulate_tasks.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/tabulate_tasks.py"),
        models=ROTARY,
        tasks=TASK_NAMES,
        candidates=config["tasks"]["candidates"],
        samples=config["fits"]["bootstrap_samples"],
        seed=config["fits"]["bootstrap_seed"],
    message:
        "Tabulating the tasks"
    script:
        "../scripts/tabulate_tasks.py"


rule plot_tasks:
    input:
        "results/tables/tasks.csv",
    output:
        report(
            "results/figures/tasks-{base}.svg",
            caption="../report/tasks.rst",
            category="Tolerance",
            labels={"result": "accuracy on tasks, {base}"},
        ),
        "results/figures/tasks-{base}.pdf",
        "results/figures/tasks-{base}.png",
    log:
        "logs/plot_tasks/{base}.log",
    benchmark:
        "logs/plot_tasks/{base}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_hash("scripts/plot_tasks.py"),
        control=lambda wildcards: (
            control(wildcards.base) if config["models"][wildcards.base]["random_control"] else None
        ),
    message:
        "Plotting accuracy under perturbation: {wildcards.base}"
    script:
        "../scripts/plot_tasks.py"
