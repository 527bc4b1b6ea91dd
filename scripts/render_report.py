"""Render Snakemake's own report of the figures and tables.

A second Snakemake reads what the running one has recorded of the jobs that made them; it starts no job, so it needs
no lock.
"""

import shutil
import subprocess
import sys
from tempfile import TemporaryDirectory

from triaxis.base import files
from triaxis.base.errors import UserError, reporting

with reporting(snakemake.log[0]) as log, TemporaryDirectory() as folder:
    config = f"{folder}/config.json"
    files.write_json(config, snakemake.params.config)
    command = [sys.executable, "-m", "snakemake", "--snakefile", snakemake.params.snakefile, "--configfile", config]
    command += [
        *snakemake.params.storage,
        "--nolock",
        "--workflow-profile",
        "none",
        "--report",
        f"{folder}/report.html",
        "--",
        *snakemake.params.targets,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        log.info(result.stderr)
        raise UserError("snakemake --report failed: see above")
    with files.whole(snakemake.output[0]) as part:
        shutil.copyfile(f"{folder}/report.html", part)
