# From text to the three-axis fit: text -> tokens -> features -> logits -> sums -> fits -> tables, figures, report.
import json
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

# Where `include` finds a file of the project. In the root of a git+file source, Snakemake would look for a relative path
# at the root of the file system: there it is the full address.
FOLDER, _, REVISION = str(workflow.current_basedir).rpartition("@")
AT = f"{FOLDER.rstrip('/')}/{{}}@{REVISION}" if FOLDER.startswith("git+file:") else "{}"


include: AT.format("rules/library.smk")
include: AT.format("rules/common.smk")
include: AT.format("rules/text.smk")
include: AT.format("rules/model.smk")
include: AT.format("rules/fit.smk")
include: AT.format("rules/mechanism.smk")
include: AT.format("rules/heads.smk")
include: AT.format("rules/length.smk")
include: AT.format("rules/surgery.smk")
include: AT.format("rules/tolerance.smk")
include: AT.format("rules/tasks.smk")
include: AT.format("rules/training.smk")
include: AT.format("rules/report.smk")


rule all:
    default_target: True
    input:
        # A workflow that uses this one as a module has a report of its own, with these pages in it.
        "results/report.html" if not REMOTE and Path(workflow.basedir) == PROJECT else PAGE_FILES,
        "results/paper.pdf" if not REMOTE else [],
        "results/explorer.html",
        "results/manifest.json",
        "results/triaxis.duckdb",
    localrule: True


onstart:
    check_targets(workflow.dag.needrun_jobs())
    check_partitions(workflow.dag.needrun_jobs())
