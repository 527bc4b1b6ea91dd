"""Run a model on the prompts of one task, plain and disturbed."""

import torch

from triaxis import prompts, provenance, tables
from triaxis.capture import probe_layouts
from triaxis.faults import reporting
from triaxis.models import load_tokenizer, open_model, revision_of
from triaxis.taskruns import Conditions, run_items

with reporting(snakemake.log[0]):
    params = snakemake.params
    torch.set_num_threads(snakemake.threads)
    model = open_model(snakemake.input.record, params, params.random_seed)
    rows = run_items(
        model,
        probe_layouts(model),
        load_tokenizer(model.name_or_path),
        prompts.from_table(tables.read_parquet(snakemake.input.prompts)),
        Conditions(**params.conditions),
        batch=params.batch,
        new_tokens=params.new_tokens,
    )
    upstream = tables.read_metadata(snakemake.input.prompts) | {"model": snakemake.wildcards.model}
    upstream["revision"] = revision_of(upstream, params.random_seed)
    tables.write_parquet(snakemake.output[0], rows, tables.TASKS, provenance.describe(params, upstream))
