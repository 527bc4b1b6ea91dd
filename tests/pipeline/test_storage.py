"""Results in a storage backend of Snakemake's: a real run into another folder by the `fs` plugin, and a dry run on S3,
whose server here is one that has an empty bucket."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import duckdb
import pytest

from pipeline.test_incremental import EXPERIMENTS

pytest.importorskip("snakemake_storage_plugin_fs", reason="the storage plugins are not installed: make test does")
pytest.importorskip("snakemake_storage_plugin_s3", reason="the storage plugins are not installed: make test does")


@pytest.mark.skipif(not shutil.which("rsync"), reason="the fs plugin copies with rsync, which is not on this machine")
def test_results_in_a_storage_backend_are_those_of_a_local_run(finished, workspace, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    workspace.edit("config/tiny.yaml", EXPERIMENTS, "experiments: [mechanism]")
    storage = ["--default-storage-provider", "fs", "--default-storage-prefix", str(store)]
    run = workspace.run(*storage)
    assert run.status == 0, run.output
    assert not (workspace.folder / "results").exists()
    manifest = json.loads((store / "results/manifest.json").read_text())
    own = {path: entry["sha256"] for path, entry in manifest["artefacts"].items()}
    # The paper's first page names the experiments of its run, and the explorer shows those of heads.
    for path in ("results/paper.pdf", "results/explorer.html"):
        assert own.pop(path) != finished.digests()[path]
    assert "results/tables/mechanism.csv" in own and own.items() <= finished.digests().items()
    assert (store / "results/report.html").stat().st_size > 1e5
    # What no rule lists stays beside the record that names it.
    assert (workspace.folder / "resources/models/tiny.json").exists() and not (store / "resources").exists()
    with duckdb.connect(str(store / "results/triaxis.duckdb"), read_only=True) as database:
        assert database.sql("SELECT count(*) FROM sequences").fetchall() == [(8,)]
        database.execute(f"SET VARIABLE run = '{store}'")
        assert database.sql("SELECT count(*) > 0 FROM features").fetchall() == [(True,)]
    again = workspace.dry(*storage)
    assert again.nothing, again.output


class EmptyBucket(BaseHTTPRequestHandler):
    """As much of S3 as a dry run asks for: the bucket is there, and nothing is in it."""

    asked: list[str]

    def answer(self, status: int, body: bytes = b"") -> None:
        self.asked.append(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/xml")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.answer(200 if self.path.strip("/") == "bucket" else 404)

    def do_GET(self) -> None:
        self.answer(200, b'<?xml version="1.0"?><ListBucketResult><Name>bucket</Name></ListBucketResult>')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def empty_bucket():
    handler = type("Handler", (EmptyBucket,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.asked
    server.shutdown()


def test_a_run_on_s3_is_planned(workspace, empty_bucket):
    url, asked = empty_bucket
    run = workspace.dry(
        *("--default-storage-provider", "s3", "--default-storage-prefix", "s3://bucket/project"),
        *("--storage-s3-endpoint-url", url, "--storage-s3-access-key", "key", "--storage-s3-secret-key", "secret"),
    )
    assert run.status == 0, run.output
    assert run.rules == workspace.dry().rules
    assert any("/bucket/project/results/headline" in path or "/bucket/project/results" in path for path in asked)
    assert "s3://bucket/project/results/features/model=tiny/shard-0000.parquet" in run.output
    assert "s3://bucket/project/resources" not in run.output
