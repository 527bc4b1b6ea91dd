"""The pipeline inside another one: `module triaxis`, with a configuration and a prefix of its own."""

import duckdb

from pipeline.conftest import PARTS
from pipeline.test_incremental import EXPERIMENTS

OUTER = """
configfile: "outer.yaml"


module triaxis:
    snakefile:
        "triaxis/Snakefile"
    config:
        config["triaxis"]
    prefix:
        "measured"


use rule * from triaxis as triaxis_*


rule collect:
    default_target: True
    input:
        rules.triaxis_build_database.output,
        "measured/results/tables/headline.csv",
    output:
        "collected.csv",
    shell:
        "cp {input[1]} {output}"
"""


def test_another_workflow_uses_this_one(finished, workspace):
    folder = workspace.folder
    inner = folder / "triaxis"
    inner.mkdir()
    for part in PARTS:
        (folder / part).rename(inner / part)
    (folder / "Snakefile").write_text(OUTER)
    settings = (inner / "config/tiny.yaml").read_text().replace(EXPERIMENTS, "experiments: [mechanism]")
    settings = settings.replace("\n", "\n  ")
    (folder / "outer.yaml").write_text(f"triaxis:\n  {settings}\n")
    workspace.configfile = "outer.yaml"
    run = workspace.run()
    assert run.status == 0, run.output
    assert run.rules["collect"] == 1 and run.rules["triaxis_extract_features"] == 4
    assert not (folder / "results").exists()
    with duckdb.connect(str(folder / "measured/results/triaxis.duckdb"), read_only=True) as database:
        for stage in ("fits", "features"):
            assert database.sql(f"SELECT count(*) FROM {stage}").fetchall()[0][0] > 0
    assert (folder / "collected.csv").read_text() == (finished.folder / "results/tables/headline.csv").read_text()
    assert workspace.dry("--rerun-triggers", "mtime", "params", "input").nothing
    # All but the report: the outer workflow makes its own.
    rest = workspace.dry("triaxis_all").rules
    assert rest["triaxis_write_manifest"] == 1 and "triaxis_render_report" not in rest
