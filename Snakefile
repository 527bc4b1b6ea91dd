# From text to the three-axis fit: text -> tokens -> features -> logits -> sums -> fits -> tables, figures, report.
import gc
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
include: at("rules/planning.smk")
include: at("rules/common.smk")
include: at("rules/sources.smk")
include: at("rules/sequences.smk")
include: at("rules/features.smk")
include: at("rules/logits.smk")
include: at("rules/fits.smk")
include: at("rules/mechanism.smk")
include: at("rules/surgery.smk")
include: at("rules/tolerance.smk")
include: at("rules/tasks.smk")
include: at("rules/length.smk")
include: at("rules/tables.smk")
include: at("rules/figures.smk")
include: at("rules/report.smk")


rule all:
    default_target: True
    input:
        # A workflow that uses this one as a module has a report of its own, with these figures in it.
        "results/report.html" if not REMOTE and Path(workflow.basedir) == PROJECT else [],
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
