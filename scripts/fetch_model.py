"""Fetch a model, verify it, and leave a plain safetensors folder with a record of what it is."""

import json
import shutil
from pathlib import Path

from triaxis.base import files
from triaxis.base.errors import reporting
from triaxis.model.gguf import dequantise
from triaxis.model.published import read_config
from triaxis.model.whole import check_headers
from triaxis.text import sources

with reporting(snakemake.log[0]) as log:
    params, lock = snakemake.params, snakemake.input.lock
    listed = [params.source] if isinstance(params.source, str) else params.source
    parts = [sources.parse_source(text) for text in listed]
    pins = json.loads(Path(lock[0]).read_text()) if lock else None
    folder = Path(snakemake.output[0]).with_suffix("")
    # What a killed run left of a download is fetched anew.
    download = folder.with_name(f".{folder.name}.download")
    shutil.rmtree(download, ignore_errors=True)
    place = folder if parts[0].kind == "hub" else download
    record = sources.fetch_model_files(parts, params.sha256, pins, place, check=read_config)
    if gguf := [Path(record["folder"]) / name for name in record["files"] if name.lower().endswith(".gguf")]:
        log.info("dequantising %s, once", ", ".join(file.name for file in gguf))
        dequantise(gguf, folder)
        plain = sources.fetch_model_files([sources.parse_source(f"path:{folder}")], None, None, folder)
        record |= {key: plain[key] for key in ("folder", "files")}
    check_headers(record["folder"], read_config(record["folder"]))
    shutil.rmtree(download, ignore_errors=True)
    files.write_json(snakemake.output[0], record)
