# What perturbed order costs downstream: accuracy on tasks, under the perturbations of `tolerance`.

ITEM_TASKS = [name for name in ("cloze", "passkey", "longbench") if config["tasks"][name]]
HARNESS = config["tasks"]["harness"] or {"tasks": {}}
TASK_NAMES = ITEM_TASKS + [f"harness-{name}" for name in HARNESS["tasks"]]


wildcard_constraints:
    task="cloze|passkey|longbench",
    harness="[A-Za-z0-9._-]+",


# How prompts are perturbed; those of a control, which guesses, by nothing and by the most.
CONDITIONS = {key: config["tolerance"][key] for key in ("perturbations", "unit", "window", "seed")} | {
    "fractions": FRACTIONS,
    "layers": None if config["tolerance"]["layers"] == "all" else config["tolerance"]["layers"],
}
CONTROL_CONDITIONS = CONDITIONS | {"fractions": [FRACTIONS[0], FRACTIONS[-1]]}
ANSWERED = expand("results/tasks/model={model}/task={task}/tasks.parquet", model=ROTARY, task=TASK_NAMES)


use rule fetch_corpus as fetch_questions with:
    output:
        kept_here("resources/questions.json"),
    log:
        "logs/fetch_questions.log",
    benchmark:
        "logs/fetch_questions.tsv"
    params:
        code=code_hash("scripts/fetch_corpus.py"),
        source=lambda wildcards: config["tasks"]["longbench"]["source"],
        sha256=lambda wildcards: config["tasks"]["longbench"]["sha256"],
        lock=lambda wildcards: lock_of(LOCK, config["tasks"]["longbench"]["source"]),
        local=lambda wildcards: path_revision(fetch_corpus_files, config["tasks"]["longbench"]["source"]),
    message:
        "Fetching and verifying questions"


rule build_items:
    input:
        documents=lambda wildcards: [] if wildcards.task == "longbench" else "results/documents.parquet",
        split=lambda wildcards: split_of(wildcards.base),
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
        prompts=lambda wildcards: f"results/task_items/model={base_of(wildcards.model)}/task={wildcards.task}/items.parquet",
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
        **ON_GPU,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        **RUN,
        code=code_hash("scripts/run_tasks.py"),
        random_seed=lambda wildcards: MODELS[wildcards.model],
        conditions=lambda wildcards: CONTROL_CONDITIONS if is_control(wildcards.model) else CONDITIONS,
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
        **ON_GPU,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        **RUN,
        code=code_hash("scripts/run_harness.py"),
        random_seed=lambda wildcards: MODELS[wildcards.model],
        conditions=lambda wildcards: CONTROL_CONDITIONS if is_control(wildcards.model) else CONDITIONS,
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
        ANSWERED,
    output:
        csv="results/tables/tasks.csv",
    log:
        "logs/tabulate_tasks.log",
    benchmark:
        "logs/tabulate_tasks.tsv"
    localrule: True
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
        samples=config["fits"]["bootstrap_samples"],
        seed=config["fits"]["bootstrap_seed"],
    message:
        "Tabulating the tasks"
    script:
        "../scripts/tabulate_tasks.py"


EXPERIMENTS["tasks"] = Experiment(
    category="6. Tasks",
    tables={"tasks": "accuracy on tasks"} if TASK_NAMES else {},
    stages={
        "task_items": expand(
            "results/task_items/model={base}/task={task}/items.parquet", base=ROTARY_BASES, task=ITEM_TASKS
        ),
        "tasks": ANSWERED,
    },
    figures={
        "tasks": Figure(
            {"table": "results/tables/tasks.csv"},
            "accuracy on tasks, {model}",
            each=ROTARY_BASES if TASK_NAMES else [],
        )
    },
)


rule tasks:
    input:
        outputs_of("tasks"),
    localrule: True
