"""Run a model on one task of lm-evaluation-harness, plain and perturbed."""

import json
from pathlib import Path

import torch

from triaxis.attention.layout import probe_layouts
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.model.loading import open_model, revision_of
from triaxis.model.tokenizer import load_tokenizer
from triaxis.tasks import harness
from triaxis.tasks.run import Conditions
from triaxis.tasks.schema import TASKS

with reporting(snakemake.log[0]):
    params = snakemake.params
    harness.import_harness()  # a missing package is told before a model is loaded
    torch.set_num_threads(snakemake.threads)
    model = open_model(snakemake.input.record, params, params.random_seed)
    rows = harness.run_harness(
        model,
        probe_layouts(model),
        load_tokenizer(model.name_or_path),
        Conditions(**params.conditions),
        snakemake.wildcards.harness,
        params.metric,
        limit=params.limit,
        folder=params.folder,
        batch_tokens=params.batch_tokens,
    )
    record = json.loads(Path(snakemake.input.record).read_text())
    upstream = {"model": snakemake.wildcards.model, "revision": revision_of(record, params.random_seed)}
    parquet.write_parquet(snakemake.output[0], rows, TASKS, provenance.describe(params, upstream))
