# From text to tokens to sequences.


rule fetch_corpus:
    output:
        kept_here("resources/corpus.json"),
    log:
        "logs/fetch_corpus.log",
    benchmark:
        "logs/fetch_corpus.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=code_hash("scripts/fetch_corpus.py"),
        # A function, or Snakemake would take braces in it for wildcards.
        source=lambda wildcards: config["corpus"]["source"],
        sha256=config["corpus"]["sha256"],
        lock=lambda wildcards: lock_of(LOCK, config["corpus"]["source"]),
        local=lambda wildcards: path_revision(fetch_corpus_files, config["corpus"]["source"]),
    message:
        "Fetching and verifying the corpus"
    script:
        "../scripts/fetch_corpus.py"


rule read_documents:
    input:
        kept_here("resources/corpus.json"),
    output:
        "results/documents.parquet",
    log:
        "logs/read_documents.log",
    benchmark:
        "logs/read_documents.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code_hash("scripts/read_documents.py"),
        format=config["corpus"]["format"],
        text=lambda wildcards: config["corpus"]["text"],
        title=lambda wildcards: config["corpus"]["title"],
        csv=lambda wildcards: config["corpus"]["csv"],
    message:
        "Reading the corpus"
    script:
        "../scripts/read_documents.py"


rule tokenize_documents:
    input:
        documents="results/documents.parquet",
        split=lambda wildcards: split_of(wildcards.base),
        record=kept_here("resources/models/{base}.json"),
    output:
        "results/tokens/model={base}/tokens.parquet",
    log:
        "logs/tokenize_documents/{base}.log",
    benchmark:
        "logs/tokenize_documents/{base}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=code_hash("scripts/tokenize_documents.py"),
    message:
        "Tokenising the documents for {wildcards.base}"
    script:
        "../scripts/tokenize_documents.py"


rule sample_sequences:
    input:
        lambda wildcards: f"results/tokens/model={base_of(wildcards.model)}/tokens.parquet",
    output:
        "results/sequences/model={model}/shard-{shard}.parquet",
    log:
        "logs/sample_sequences/{model}-{shard}.log",
    benchmark:
        "logs/sample_sequences/{model}-{shard}.tsv"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_hash("scripts/sample_sequences.py"),
        first=lambda wildcards: int(wildcards.shard) * SHARD_SIZE,
        last=lambda wildcards: min((int(wildcards.shard) + 1) * SHARD_SIZE, config["sequences"]["count"]),
        length=config["sequences"]["length"],
        per_document=config["sequences"]["per_document"],
        seed=config["sequences"]["seed"],
    message:
        "Sampling sequences: {wildcards.model}, shard {wildcards.shard}"
    script:
        "../scripts/sample_sequences.py"
