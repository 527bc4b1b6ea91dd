# From text to the three-axis fit: text -> tokens -> features -> logits -> sums -> fits -> tables, figures, report.
import math
import re
import subprocess
import sys
from glob import glob
from os.path import relpath
from pathlib import Path
from shutil import which

from snakemake.utils import min_version

min_version("9.27")


def at(path):
    """The path of a file of the project, as `include` takes it. In the root of a git+file source, Snakemake would look
    for a relative one at the root of the file system: there it is the full address."""
    folder, _, revision = str(workflow.current_basedir).rpartition("@")
    return f"{folder.rstrip('/')}/{path}@{revision}" if folder.startswith("git+file:") else path


include: at("rules/library.smk")
include: at("rules/common.smk")
include: at("rules/text.smk")
include: at("rules/model.smk")
include: at("rules/fit.smk")
include: at("rules/mechanism.smk")
include: at("rules/length.smk")
include: at("rules/surgery.smk")
include: at("rules/tolerance.smk")
include: at("rules/tasks.smk")
include: at("rules/report.smk")


rule all:
    default_target: True
    input:
        # A workflow that uses this one as a module has a report of its own, with these figures in it.
        "results/report.html" if not REMOTE and Path(workflow.basedir) == PROJECT else [],
        "results/manifest.json",
        "results/triaxis.duckdb",
    localrule: True


onstart:
    check_targets(workflow.dag.needrun_jobs())
    check_partitions(workflow.dag.needrun_jobs())
