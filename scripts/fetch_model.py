"""Fetch a model, verify it, and leave a plain safetensors folder with a record of what it is."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from triaxis import sources, tables
from triaxis.faults import reporting
from triaxis.models import dequantise

with reporting(snakemake.log[0]) as log:
    params, lock = snakemake.params, snakemake.input.lock
    source = sources.parse_source(params.source)
    pins = json.loads(Path(lock[0]).read_text()) if lock else None
    folder = Path(params.folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as download:
        target = folder if source.kind == "hub" else Path(download)
        record = sources.fetch_model_files(source, params.sha256, pins, target)
        if gguf := [Path(record["folder"]) / name for name in record["files"] if name.endswith(".gguf")]:
            log.info("dequantising %s, once", gguf[0].name)
            dequantise(gguf[0], folder)
            plain = sources.fetch_model_files(sources.parse_source(f"path:{folder}"), None, None, folder)
            record |= {key: plain[key] for key in ("folder", "files")}
    tables.write_json(snakemake.output[0], record)
