"""Make the prompts of one task for one tokenizer."""

import json
from pathlib import Path

from triaxis.base import parquet, provenance
from triaxis.base.errors import UserError, reporting
from triaxis.model.tokenizer import load_tokenizer
from triaxis.tasks import items, longbench
from triaxis.tasks.cloze import cloze_items
from triaxis.tasks.passkey_items import passkey_items, read_filler
from triaxis.tasks.schema import TASK_ITEMS
from triaxis.text import sources
from triaxis.text.split import read_measured
from triaxis.text.tokens import prefix_tokens

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
        prompts = longbench.question_items(
            tokenizer,
            found,
            template=options["prompt"],
            length=options["length"],
            count=options["items"],
            prefix=prefix,
        )
        upstream = {"revision": record["revision"]}
    else:
        documents, upstream = read_measured(snakemake.input.documents, snakemake.input.split)
        texts = documents["text"].to_pylist()
        upstream |= {"revision": record["revision"]}
        if task == "cloze":
            prompts = cloze_items(tokenizer, texts, context=options["context"], count=options["items"], **choice)
        else:
            prompts = passkey_items(
                tokenizer,
                read_filler(tokenizer, texts, options["length"], params.seed),
                length=options["length"],
                depths=options["depths"],
                count=options["items"],
                **choice,
            )
    log.info("%d prompts", len(prompts))
    metadata = provenance.describe(params, upstream | {"model": snakemake.wildcards.base})
    parquet.write_parquet(snakemake.output[0], items.to_table(prompts), TASK_ITEMS, metadata)
