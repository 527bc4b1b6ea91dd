"""Write the pages of the report: what was run, and each table and figure with its caption, to be read in place."""

import json
from pathlib import Path

from triaxis.base import files
from triaxis.base.errors import reporting
from triaxis.base.provenance import SCRIPTS
from triaxis.base.tables import from_csv
from triaxis.report.manifest import facts_of_run
from triaxis.report.pages import caption_html, figure_page, table_page
from triaxis.report.run_page import run_page

with reporting(snakemake.log[0]):
    params, inputs, project = snakemake.params, snakemake.input, SCRIPTS.parent
    records = {Path(path).stem: json.loads(Path(path).read_text()) for path in inputs.records}
    made = dict(zip(params.models, inputs.made, strict=True))
    tokens = dict(zip(params.bases, inputs.tokens, strict=True))
    facts = facts_of_run(project, params.config, records, made, tokens)
    pages = {snakemake.output.summary: run_page(facts, params.experiments, from_csv(inputs.headline))}
    for (label, caption, model), source, page in zip(params.pages, inputs.sources, snakemake.output.pages, strict=True):
        # A remote source has no captions: Snakemake fetches no folder of it.
        words = project / f"report/{caption}.rst"
        told = caption_html(words.read_text() if words.exists() else "", model)
        named = f"results/{Path(source).parent.name}/{Path(source).name}"
        if Path(source).suffix == ".csv":
            pages[page] = table_page(label, told, named, from_csv(source))
        else:
            pages[page] = figure_page(label, told, named, [Path(source), Path(source).with_suffix(".png")])
    for page, text in pages.items():
        with files.whole(page) as part:
            part.write_text(text, encoding="utf-8")
