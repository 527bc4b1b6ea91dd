"""Fetch a model, verify it, and leave a plain safetensors folder with a record of what it is."""

import shutil
from pathlib import Path

from triaxis.base import files
from triaxis.base.errors import reporting
from triaxis.base.source_text import parse_source
from triaxis.model.gguf import dequantise
from triaxis.model.published import read_config
from triaxis.model.whole import check_headers
from triaxis.text import sources

with reporting(snakemake.log[0]) as log:
    params = snakemake.params
    listed = [params.source] if isinstance(params.source, str) else params.source
    parts = [parse_source(text) for text in listed]
    folder = Path(snakemake.output[0]).with_suffix("")
    # What a killed run left of a download is fetched anew.
    download = folder.with_name(f".{folder.name}.download")
    shutil.rmtree(download, ignore_errors=True)
    place = folder if parts[0].kind == "hub" else download
    record = sources.fetch_model_files(parts, params.sha256, params.lock, place, check=read_config)
    if gguf := [Path(record["folder"]) / name for name in record["files"] if name.lower().endswith(".gguf")]:
        log.info("dequantising %s, once", ", ".join(file.name for file in gguf))
        record["quantisation"] = dequantise(gguf, folder)
        plain = sources.fetch_model_files([parse_source(f"path:{folder}")], None, None, folder)
        record |= {key: plain[key] for key in ("folder", "files")}
    settings = read_config(record["folder"])
    if stored := getattr(settings, "quantization_config", None):
        record["quantisation"] = stored["quant_method"]
    check_headers(record["folder"], settings)
    shutil.rmtree(download, ignore_errors=True)
    files.write_json(snakemake.output[0], record)
