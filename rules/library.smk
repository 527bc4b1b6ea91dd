# Where the library, the scripts and the configuration come from: the folder of the project, or, of a remote source, what is
# installed and what Snakemake fetches file by file.
from copy import deepcopy
from os import PathLike

# Not a path if remote: then Snakemake fetches scripts, but not what they import.
REMOTE = not isinstance(workflow.current_basedir, PathLike)
PROJECT = None if REMOTE else Path(workflow.current_basedir).parent

if not REMOTE:
    sys.path.insert(0, str(PROJECT / "scripts"))
try:
    from triaxis.base import provenance
    from triaxis.base.checkpoints import TRAIN, measured_models, series_in, with_weights
    from triaxis.base.config import resolve
    from triaxis.base.errors import UserError
    from triaxis.base.gpu import gpu_here
    from triaxis.base.names import entry_of, is_control, series_of
    from triaxis.base.version import VERSION
    from triaxis.text.sources import fetch_corpus_files, fetch_model_files, lock_of, path_revision, read_lock
except ModuleNotFoundError as error:
    if error.name != "triaxis":
        raise
    sys.exit(
        "ERROR: from a remote source, Snakemake fetches this workflow but not its library, triaxis: pip install the same "
        "version of it for Snakemake and its jobs (in a clone: pip install .), or use the Snakefile of a clone"
    )

if REMOTE and f'"{VERSION}"' not in Path(workflow.source_path("../scripts/triaxis/base/version.py")).read_text():
    sys.exit(
        f"ERROR: the library triaxis that is installed is {VERSION}, and this workflow is not: pip install its own"
    )


def code_hash(*files):
    """As provenance.code_hash; scripts of a remote source are fetched first, modules are those of the library."""

    def found(file):
        return workflow.source_path(f"../{file}") if REMOTE and not file.startswith("scripts/triaxis/") else file

    return provenance.code_hash(*map(found, files))


given = deepcopy(config)


configfile: workflow.source_path("../config.yaml") if REMOTE else str(PROJECT / "config.yaml")


# A user's models and corpus replace the default's; the other sections are merged key by key.
config.update({key: given[key] for key in ("models", "corpus") if key in given})
try:
    config = resolve(config)
    LOCK = read_lock(config["lock"]) if config["lock"] else None
except UserError as error:
    sys.exit(f"ERROR: {error}")
