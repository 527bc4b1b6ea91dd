"""Fetch a model, verify it, and leave a plain safetensors folder with a record of what it is."""

import json
import shutil
from pathlib import Path

from triaxis.base import files
from triaxis.base.errors import reporting
from triaxis.base.source_text import parse_source
from triaxis.model.gguf import dequantise
from triaxis.text import sources

with reporting(snakemake.log[0]) as log:
    params, lock = snakemake.params, snakemake.input.lock
    source = parse_source(params.source)
    pins = json.loads(Path(lock[0]).read_text()) if lock else None
    folder = Path(snakemake.output[0]).with_suffix("")
    # What a killed run left of a download is fetched anew.
    download = folder.with_name(f".{folder.name}.download")
    shutil.rmtree(download, ignore_errors=True)
    record = sources.fetch_model_files(source, params.sha256, pins, folder if source.kind == "hub" else download)
    if gguf := [Path(record["folder"]) / name for name in record["files"] if name.endswith(".gguf")]:
        log.info("dequantising %s, once", gguf[0].name)
        dequantise(gguf[0], folder)
        plain = sources.fetch_model_files(parse_source(f"path:{folder}"), None, None, folder)
        record |= {key: plain[key] for key in ("folder", "files")}
    shutil.rmtree(download, ignore_errors=True)
    files.write_json(snakemake.output[0], record)
