"""Set the run as a paper: what it was made of goes into paper.json, and Typst reads that, tables and figures."""

import json
from pathlib import Path

from triaxis.base import files
from triaxis.base.errors import reporting
from triaxis.base.provenance import SCRIPTS
from triaxis.report.captions import pieces
from triaxis.report.manifest import facts_of_run
from triaxis.report.paper import require_tables, set_paper

with reporting(snakemake.log[0]):
    params, inputs, project = snakemake.params, snakemake.input, SCRIPTS.parent
    records = {Path(path).stem: json.loads(Path(path).read_text()) for path in inputs.records}
    made = dict(zip(params.models, inputs.made, strict=True))
    tokens = dict(zip(params.bases, inputs.tokens, strict=True))
    facts = facts_of_run(project, params.config, records, made, tokens)
    facts["tables"] = [Path(table).stem for table in inputs.tables]
    captions = {path.stem: path.read_text() for path in project.glob("report/*.rst")}
    facts["experiments"] = [
        {
            "name": name,
            "figures": [
                {
                    "name": figure,
                    "files": [{"file": file, "caption": pieces(captions[figure], model)} for file, model in shown],
                }
                for figure, shown in figures
            ],
        }
        for name, figures in params.experiments
    ]
    require_tables(map(Path, inputs.tables))
    # What Typst reads is named from the folder that has results/ in it.
    root = Path(snakemake.output.pdf).parents[1]
    own = {str(Path(file).relative_to(root)): Path(file) for file in [*inputs.tables, *inputs.figures]}
    files.write_json(snakemake.output.facts, facts)
    set_paper(project / "paper", own, Path(snakemake.output.facts), Path(snakemake.output.pdf))
