# From text to the three-axis fit: text -> tokens -> features -> logits -> sums -> fits -> tables, figures, report.
import gc
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
from triaxis.base.errors import UserError
from triaxis.base.provenance import code_hash
from triaxis.base.config import resolve
from triaxis.text.sources import fetch_corpus_files, fetch_model_files, lock_of, path_revision, read_lock

given = deepcopy(config)


configfile: str(Path(workflow.current_basedir) / "config.yaml")


# A user's models and corpus replace the default's; the other sections are merged key by key.
config.update({key: given[key] for key in ("models", "corpus") if key in given})
try:
    config = resolve(config)
    LOCK = read_lock(config["lock"]) if config["lock"] else None
except UserError as error:
    sys.exit(f"ERROR: {error}")


include: "rules/planning.smk"
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
include: "rules/length.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/report.smk"


report: "report/workflow.rst"


rule all:
    default_target: True
    input:
        # A workflow that uses this one as a module has a report of its own, with these figures in it.
        "results/report.html" if Path(workflow.main_snakefile).parent == Path(workflow.current_basedir) else [],
        "results/manifest.json",
        "results/triaxis.duckdb",


# What a cluster's login node does itself: what needs the network, and seconds of one core.
localrules:
    all,
    surgery,
    tolerance,
    tasks,
    length,
    fetch_model,
    fetch_corpus,
    fetch_questions,
    lock_sources,
    read_documents,
    sample_sequences,
    join_documents,
    tabulate_headline,
    tabulate_surgery,
    tabulate_tasks,
    tabulate_length,
    tabulate_costs,
    build_database,
    render_report,
    plot_heads,
    plot_axes,
    plot_matrices,
    plot_distance,
    plot_additive,
    plot_pairs,
    plot_contributions,
    plot_dummies,
    plot_surface,
    plot_surgery,
    plot_steps,
    plot_tolerance,
    plot_cosines,
    plot_link,
    plot_tasks,
    plot_length,
    plot_costs,


onstart:
    gc.enable()
    check_targets(workflow.dag.needrun_jobs())
    check_partitions(workflow.dag.needrun_jobs())
