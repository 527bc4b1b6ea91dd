"""Train a model on the corpus, without its held-out documents, and keep its weights at the steps of its series."""

import os
import shutil
from functools import partial
from pathlib import Path

import pyarrow as pa
import torch

from triaxis.base import files, parquet, provenance
from triaxis.base.errors import reporting
from triaxis.base.source_text import parse_source
from triaxis.model.devices import choose_device
from triaxis.text import sources
from triaxis.text.split import one_side
from triaxis.training.architecture import make_config, make_model
from triaxis.training.schema import CURVES
from triaxis.training.train import cut_windows, require_windows, save_checkpoint, train_model
from triaxis.training.vocabulary import make_tokenizer

with reporting(snakemake.log[0]) as log:
    params, options = snakemake.params, snakemake.params.training
    torch.set_num_threads(snakemake.threads)
    # Trainer would spread each batch over all GPUs that it sees: a step of another size.
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", params.device.partition(":")[2] or "0")
    os.environ["CUDA_VISIBLE_DEVICES"] = seen.split(",")[0]
    device = choose_device(params.device.partition(":")[0])

    documents = parquet.read_parquet(snakemake.input.documents, ["document", "text"])
    split = parquet.read_parquet(snakemake.input.split)
    trained, held_out = (one_side(documents, split, side)["text"].to_pylist() for side in (False, True))
    tokenizer = make_tokenizer(trained, options["vocabulary"])
    config = make_config(options["architecture"], options["length"], len(tokenizer))
    windows, unseen = (
        cut_windows(tokenizer(side, add_special_tokens=False, verbose=False).input_ids, options["length"])
        for side in (trained, held_out)
    )
    require_windows(windows, options)
    model = make_model(config, params.seed)
    log.info("%d parameters, %d training windows, %d held out", model.num_parameters(), len(windows), len(unseen))

    # What a killed training left is taken up by one of the same code, options and documents, and by no other.
    metadata = provenance.describe(params, parquet.read_metadata(snakemake.input.split))
    folder = Path(snakemake.output.record).with_suffix("")
    scratch = folder / f".unfinished-{provenance.digest(metadata)}"
    for left in folder.glob(".unfinished-*"):
        if left != scratch:
            shutil.rmtree(left)
    scratch.mkdir(parents=True, exist_ok=True)
    save = partial(save_checkpoint, tokenizer=tokenizer)
    device_is_cpu = device is None or device.type == "cpu"
    curve = train_model(
        model, windows, unseen, options, params.steps, params.seed, scratch, cpu=device_is_cpu, save=save
    )

    records = {}
    for step in params.steps:
        kept = folder / f"step-{step}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(scratch / kept.name, kept)
        records[step] = sources.fetch_model_files([parse_source(f"path:{kept}")], None, None, folder)
    parquet.write_parquet(snakemake.output.curve, pa.Table.from_pylist(curve, schema=CURVES), CURVES, metadata)
    files.write_json(snakemake.output.record, records)
    shutil.rmtree(scratch)
