# From text to the three-axis fit: text -> tokens -> features -> logits -> sums -> fits -> tables, figures, report.
import math
import sys
from copy import deepcopy
from glob import glob
from os.path import relpath
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")

sys.path.insert(0, str(Path(workflow.current_basedir) / "scripts"))
from triaxis.faults import UserError
from triaxis.provenance import code_hash
from triaxis.settings import resolve

given = deepcopy(config)


configfile: "config.yaml"


# A user's models and corpus replace the default's; the other sections are merged key by key.
config.update({key: given[key] for key in ("models", "corpus") if key in given})
try:
    config = resolve(config)
except UserError as error:
    sys.exit(f"ERROR: {error}")


include: "rules/common.smk"
include: "rules/sources.smk"
include: "rules/sequences.smk"
include: "rules/features.smk"
include: "rules/logits.smk"
include: "rules/fits.smk"
include: "rules/mechanism.smk"
include: "rules/surgery.smk"
include: "rules/tolerance.smk"
include: "rules/tasks.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/report.smk"


report: "report/workflow.rst"


rule all:
    default_target: True
    input:
        "results/report.html",
        "results/manifest.json",
        "results/triaxis.duckdb",
