"""Run a model on the prompts of one task, plain and perturbed."""

import torch

from triaxis.attention.layout import probe_layouts
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.model.loading import open_model, revision_of
from triaxis.model.tokenizer import load_tokenizer
from triaxis.tasks import items
from triaxis.tasks.run import Conditions, run_items
from triaxis.tasks.schema import TASKS

with reporting(snakemake.log[0]):
    params = snakemake.params
    torch.set_num_threads(snakemake.threads)
    model = open_model(snakemake.input.record, params, params.random_seed)
    rows = run_items(
        model,
        probe_layouts(model),
        load_tokenizer(model.name_or_path),
        items.from_table(parquet.read_parquet(snakemake.input.prompts)),
        Conditions(**params.conditions),
        batch_tokens=params.batch_tokens,
        new_tokens=params.new_tokens,
    )
    upstream = parquet.read_metadata(snakemake.input.prompts) | {"model": snakemake.wildcards.model}
    upstream["revision"] = revision_of(upstream, params.random_seed)
    parquet.write_parquet(snakemake.output[0], rows, TASKS, provenance.describe(params, upstream))
