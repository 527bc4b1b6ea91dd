# Download and verify models, and pin what branches resolved to.


rule fetch_model:
    output:
        kept_here("resources/models/{base}.json"),
    log:
        "logs/fetch_model/{base}.log",
    benchmark:
        "logs/fetch_model/{base}.tsv"
    wildcard_constraints:
        # Those that are trained here get their records from record_checkpoint.
        base=one_of(base for base in BASES if series_of(base) not in TRAINED),
    localrule: True
    conda:
        "../envs/gpu.yaml"
    # The corpus is fetched beside it.
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        code=code_hash("scripts/fetch_model.py"),
        source=lambda wildcards: BASES[wildcards.base]["source"],
        sha256=lambda wildcards: BASES[wildcards.base]["sha256"],
        lock=lambda wildcards: lock_of(LOCK, BASES[wildcards.base]["source"]),
        # Files of a path: source count by their content: as inputs they would by their age, and names with braces fail.
        local=lambda wildcards: path_revision(fetch_model_files, BASES[wildcards.base]["source"]),
    message:
        "Fetching and verifying the model {wildcards.base}"
    script:
        "../scripts/fetch_model.py"


rule lock_sources:
    input:
        [kept_here(f"resources/models/{base}.json") for base in BASES],
        kept_here("resources/corpus.json"),
        [kept_here("resources/questions.json")] if config["tasks"]["longbench"] else [],
    output:
        "results/sources.lock.json",
    log:
        "logs/lock_sources.log",
    benchmark:
        "logs/lock_sources.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=code_hash("scripts/lock_sources.py"),
    message:
        "Writing down which commits the sources resolved to"
    script:
        "../scripts/lock_sources.py"
