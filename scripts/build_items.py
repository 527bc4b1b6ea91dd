"""Make the prompts of one task for one tokenizer."""

import json
from pathlib import Path

from triaxis import longbench, prompts, provenance, sources, tables
from triaxis.cloze import cloze_items
from triaxis.faults import UserError, reporting
from triaxis.models import load_tokenizer
from triaxis.retrieval import passkey_items, read_filler
from triaxis.sampling import prefix_tokens

with reporting(snakemake.log[0]) as log:
    params, options, task = snakemake.params, snakemake.params.options, snakemake.wildcards.task
    record = json.loads(Path(snakemake.input.record).read_text())
    sources.verify(record)
    tokenizer = load_tokenizer(record["folder"])
    prefix = prefix_tokens(tokenizer)
    choice = {"candidates": params.candidates, "seed": params.seed, "prefix": prefix}
    if task == "longbench":
        questions = json.loads(Path(snakemake.input.questions).read_text())
        sources.verify(questions)
        if len(questions["files"]) != 1:
            raise UserError(
                f"tasks.longbench.source {questions['source']} has {len(questions['files'])} files: name one"
            )
        found = longbench.read_questions(Path(questions["folder"]) / next(iter(questions["files"])), options["dataset"])
        items = longbench.question_items(
            tokenizer,
            found,
            template=options["prompt"],
            length=options["length"],
            count=options["items"],
            prefix=prefix,
        )
        upstream = {"revision": record["revision"]}
    else:
        texts = tables.read_parquet(snakemake.input.documents)["text"].to_pylist()
        upstream = tables.read_metadata(snakemake.input.documents) | {"revision": record["revision"]}
        if task == "cloze":
            items = cloze_items(tokenizer, texts, context=options["context"], count=options["items"], **choice)
        else:
            items = passkey_items(
                tokenizer,
                read_filler(tokenizer, texts, options["length"], params.seed),
                length=options["length"],
                depths=options["depths"],
                count=options["items"],
                **choice,
            )
    log.info("%d prompts", len(items))
    metadata = provenance.describe(params, upstream | {"model": snakemake.wildcards.base})
    tables.write_parquet(snakemake.output[0], prompts.to_table(items), tables.TASK_ITEMS, metadata)
