"""A model may be named like a number or a date: every reader of a stage's files or of a table keeps its name."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from triaxis.base import parquet, query, tables
from triaxis.base.parquet import MATRIX
from triaxis.fit import summary as fit
from triaxis.fit.schema import COMPONENTS, FITS, SUMS
from triaxis.length import schema as lengths
from triaxis.length import summary as length
from triaxis.mechanism import schema as mechanisms
from triaxis.mechanism import summary as mechanism
from triaxis.report.database import build_database
from triaxis.surgery import summary as surgery
from triaxis.surgery.schema import SURGERY
from triaxis.tasks.schema import TASKS
from triaxis.tasks.summary import by_condition
from triaxis.tolerance import schema as tolerances
from triaxis.tolerance import summary as tolerance

MODELS = ["2024-01-01", "7"]  # in the order of their text, which is that of the readers

# What a row of each stage holds where 1 would not do; more than one row a file where a reader needs them.
KEY = dict.fromkeys([name for name, _ in MATRIX], 0)
HEADS = [{"layer": 0, "head": head} for head in (0, 1)]
METHOD = {"method": "plain", "length": 8}
STAGES: dict[str, tuple[pa.Schema, list[dict]]] = {
    "fits": (FITS, [KEY | {"axes": axes, "r": 0.5} for axes in ("key", "distance+query+key")]),
    "sums": (SUMS, [KEY | {"axis": "all", "count": 3, "total": 1.0, "squares": 9.0}]),
    "components": (COMPONENTS, [KEY | {"axis": "distance", "index": n, "value": n} for n in (0, 1)]),
    "additivity": (mechanisms.ADDITIVITY, [KEY]),
    "dummies": (
        mechanisms.DUMMIES,
        [KEY | {"distance": n, "mean": n * n, "component": n} for n in range(4)],
    ),
    "patterns": (mechanisms.PATTERNS, [KEY | {"first_token": first, "pair": 0} for first in (True, False)]),
    "losses": (lengths.LOSSES, [METHOD | {"first": 1, "last": 7}]),
    "passkeys": (lengths.PASSKEYS, [METHOD]),
    "distances": (lengths.DISTANCES, [METHOD | head for head in HEADS]),
    "attention": (lengths.ATTENTION, [METHOD | head for head in HEADS]),
    "continued": (lengths.COMPONENTS, [METHOD | head | {"distance": n} for head in HEADS for n in range(4)]),
    "costs": (lengths.COSTS, [METHOD]),
    "surgery": (SURGERY, [{"variant": "f+g", "scope": "all", "layer": None, "head": None}]),
    "tolerance": (tolerances.TOLERANCE, [{"fraction": fraction} for fraction in (0.0, 0.5)]),
    "cosines": (tolerances.COSINES, [{"fraction": 0.5}]),
    "links": (tolerances.LINKS, [head | {"fraction": 0.5} for head in HEADS]),
    "tasks": (TASKS, [{"perturbation": "text", "fraction": 0.5}]),
}
# Folders below the model's, whose names are columns too.
BELOW = {"tolerance": "perturbation=text/", "cosines": "perturbation=text/", "tasks": "task=cloze/"}


def default(field: pa.Field) -> object:
    return True if pa.types.is_boolean(field.type) else "x" if pa.types.is_string(field.type) else 1


@pytest.fixture
def files(tmp_path: Path) -> Callable[[str], list[Path]]:
    """files(stage) -> a file a model."""

    def write(stage: str) -> list[Path]:
        schema, rows = STAGES[stage]
        found = []
        for model in MODELS:
            found.append(tmp_path / f"{stage}/model={model}/{BELOW.get(stage, '')}shard-0000.parquet")
            full = [{field.name: default(field) for field in schema} | row for row in rows]
            metadata = {"training_length": "4", "training_length_is": "the model's own"}
            parquet.write_parquet(found[-1], pa.Table.from_pylist(full, schema=schema), schema, metadata)
        return found

    return write


def models_in(rows) -> list[str]:
    return sorted({row["model"] for row in rows})


READERS: dict[str, Callable] = {
    "fits_by_model": lambda files: models_in(
        fit.fits_by_model(fit.by_sequence(files("fits"), files("sums")), "key", MODELS, 10, 0)
    ),
    "distance_by_layer": lambda files: list(fit.distance_by_layer(files("components"))[1]),
    "mechanism_by_model": lambda files: models_in(
        mechanism.mechanism_by_model(
            files("additivity"), files("dummies"), files("patterns"), dict.fromkeys(MODELS, 0.5), 10, 0
        )
    ),
    "length_by_method": lambda files: models_in(
        length.length_by_method(
            {stage: files(stage) for stage in ("losses", "passkeys", "distances", "attention")}
            | {"components": files("continued")},
            MODELS,
            ["plain"],
        )
    ),
    "costs": lambda files: models_in(length.costs(files("costs"), MODELS, ["plain"])),
    "curves_of": lambda files: [model for model, _ in length.curves_of(files("continued"))],
    "loss_curves": lambda files: [model for model, _ in length.loss_curves(files("losses"))],
    "outlier_curves": lambda files: [model for model, _ in length.outlier_curves(files("distances"))],
    "passkey_grids": lambda files: [model for model, _ in length.passkey_grids(files("passkeys"))],
    "by_variant": lambda files: models_in(surgery.by_variant(files("surgery"), MODELS, 10, 0)),
    "tolerance_by_fraction": lambda files: models_in(
        tolerance.tolerance_by_fraction(files("tolerance"), MODELS, ["text"], 10, 0)
    ),
    "cosines": lambda files: [model for model, _ in tolerance.cosines(files("cosines"))],
    "links": lambda files: list(tolerance.links(files("links"), 0.5)),
    "by_condition": lambda files: models_in(by_condition(files("tasks"), MODELS, ["cloze"], 4, 10, 0)),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_of_a_stage_keeps_a_models_name(reader: str, files) -> None:
    assert READERS[reader](files) == MODELS


TABLES: dict[str, tuple[str, str, Callable]] = {
    "r_by_head": ("fits", fit.HEADS, lambda table: list(fit.r_by_head(table, "key"))),
    "additive_by_head": ("additivity", mechanism.R_ADDITIVE, lambda table: list(mechanism.additive_by_head(table))),
    "pairs_of": ("patterns", mechanism.PAIRS, lambda table: list(mechanism.pairs_of(table))),
    "dummies_of": ("dummies", mechanism.DUMMY_QUARTILES, lambda table: list(mechanism.dummies_of(table))),
}


@pytest.mark.parametrize("reader", TABLES)
@pytest.mark.parametrize("models", [MODELS, MODELS[:1], MODELS[1:]])
def test_a_reader_of_a_table_keeps_a_models_name(reader: str, models: list[str], files, tmp_path: Path) -> None:
    """Alone, names that are all numbers or all dates would make a column of such."""
    stage, sql, read = TABLES[reader]
    own = [file for file in files(stage) if any(f"model={model}/" in str(file) for model in models)]
    query.write_csv(tmp_path / "table.csv", sql, own)
    assert read(tmp_path / "table.csv") == models


@pytest.mark.parametrize("model", MODELS)
def test_a_table_of_rows_keeps_a_models_name(model: str, tmp_path: Path) -> None:
    rows = [{"model": model, "task": model, "perturbation": "text", "variant": "f+g", "fraction": 0.5, "sequences": 3}]
    rows = [
        row | dict.fromkeys(("ratio", "ratio_low", "ratio_high", "loss", "loss_low", "loss_high"), 1.0) for row in rows
    ]
    (tmp_path / "table.csv").write_text(tables.to_csv(rows))
    assert tables.from_csv(tmp_path / "table.csv") == rows
    assert list(tolerance.curves(tmp_path / "table.csv")) == [model]
    assert surgery.surgery_losses(tmp_path / "table.csv", [model])[model].loss.tolist() == [1.0]


def test_the_database_keeps_a_models_name(files, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    files("fits")
    (tmp_path / "headline.csv").write_text(tables.to_csv([{"model": "7", "mean_r": 0.5}]))
    build_database(tmp_path / "triaxis.duckdb", {"fits": "fits/model=*/*.parquet"}, {"headline": "headline.csv"})
    with duckdb.connect("triaxis.duckdb", read_only=True) as connection:
        assert connection.sql("SELECT DISTINCT model FROM fits ORDER BY ALL").fetchall() == [(name,) for name in MODELS]
        assert connection.sql("FROM headline").fetchall() == [("7", 0.5)]
