# From text to the three-axis fit: text -> tokens -> features -> logits -> sums -> fits -> tables, figures, report.
import math
import re
import subprocess
import sys
from copy import deepcopy
from glob import glob
from os.path import relpath
from pathlib import Path
from shutil import which

from snakemake.utils import min_version

min_version("9.27")

sys.path.insert(0, str(Path(workflow.current_basedir) / "scripts"))
from triaxis.base.config import resolve
from triaxis.base.errors import UserError
from triaxis.base.names import base_of, control_of, is_control
from triaxis.base.provenance import code_hash

given = deepcopy(config)


configfile: str(Path(workflow.current_basedir) / "config.yaml")


# A user's models and corpus replace the default's; the other sections are merged key by key.
config.update({key: given[key] for key in ("models", "corpus") if key in given})
try:
    config = resolve(config)
except UserError as error:
    sys.exit(f"ERROR: {error}")


include: "rules/common.smk"
include: "rules/text.smk"
include: "rules/model.smk"
include: "rules/fit.smk"
include: "rules/mechanism.smk"
include: "rules/length.smk"
include: "rules/surgery.smk"
include: "rules/tolerance.smk"
include: "rules/tasks.smk"
include: "rules/report.smk"


report: "report/workflow.rst"


rule all:
    default_target: True
    input:
        # A workflow that uses this one as a module has a report of its own, with these figures in it.
        "results/report.html" if Path(workflow.main_snakefile).parent == Path(workflow.current_basedir) else [],
        "results/manifest.json",
        "results/triaxis.duckdb",
    localrule: True


onstart:
    check_targets(workflow.dag.needrun_jobs())
    check_partitions(workflow.dag.needrun_jobs())
