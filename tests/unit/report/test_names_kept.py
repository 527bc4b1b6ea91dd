"""A model may be named like a number or a date: every reader of a stage's files or of a table keeps its name.

Figures find a model by its name, so that one drawn from such files has kept it.
"""

from collections.abc import Callable
from pathlib import Path

import duckdb
import matplotlib.pyplot as plt
import pyarrow as pa
import pytest

from triaxis.base import parquet, query, tables
from triaxis.base.parquet import MATRIX
from triaxis.fit import figures as fit_figures
from triaxis.fit import summary as fit
from triaxis.fit.combinations import COMBINATIONS
from triaxis.fit.schema import COMPONENTS, FITS, SUMS
from triaxis.heads import figures as heads_figures
from triaxis.heads import summary as heads
from triaxis.heads.schema import HEADS as HEADS_SCHEMA
from triaxis.length import figures as length_figures
from triaxis.length import schema as lengths
from triaxis.length import summary as length
from triaxis.mechanism import figures as mechanism_figures
from triaxis.mechanism import schema as mechanisms
from triaxis.mechanism import summary as mechanism
from triaxis.report.database import build_database
from triaxis.surgery import figures as surgery_figures
from triaxis.surgery import summary as surgery
from triaxis.surgery.schema import BANDS, SURGERY
from triaxis.tasks import figures as tasks_figures
from triaxis.tasks.schema import TASKS
from triaxis.tasks.summary import by_condition
from triaxis.tolerance import figures as tolerance_figures
from triaxis.tolerance import schema as tolerances
from triaxis.tolerance import summary as tolerance

MODELS = ["2024-01-01", "7"]  # in the order of their text, which is that of the readers

# What a row of each stage holds where 1 would not do; more than one row a file where a reader needs them.
KEY = dict.fromkeys([name for name, _ in MATRIX], 0)
HEADS = [{"layer": 0, "head": head} for head in (0, 1)]
METHOD = {"method": "plain", "length": 4}
STAGES: dict[str, tuple[pa.Schema, list[dict]]] = {
    "fits": (FITS, [KEY | {"prefix": 8, "axes": axes, "r": 0.5} for axes in COMBINATIONS]),
    "sums": (SUMS, [KEY | {"axis": "all", "count": 3, "total": 1.0, "squares": 9.0}]),
    "components": (COMPONENTS, [KEY | {"axis": "distance", "index": n, "value": n} for n in range(9)]),
    "additivity": (mechanisms.ADDITIVITY, [KEY | {"phases": phases} for phases in ("own", "scrambled")]),
    "dummies": (
        mechanisms.DUMMIES,
        [KEY | {"distance": n, "mean": n * n, "component": n} for n in range(4)],
    ),
    "patterns": (mechanisms.PATTERNS, [KEY | {"first_token": first, "pair": 0} for first in (True, False)]),
    "heads": (HEADS_SCHEMA, [head | {"class": "mixed", "role": None} for head in HEADS]),
    "losses": (lengths.LOSSES, [METHOD | {"first": 1, "last": 7}]),
    "passkeys": (lengths.PASSKEYS, [METHOD]),
    "distances": (lengths.DISTANCES, [METHOD | head for head in HEADS]),
    "attention": (lengths.ATTENTION, [METHOD | head for head in HEADS]),
    "continued": (lengths.COMPONENTS, [METHOD | head | {"distance": n} for head in HEADS for n in range(4)]),
    "costs": (lengths.COSTS, [METHOD]),
    "clouds": (lengths.CLOUDS, [METHOD | head for head in HEADS]),
    "surgery": (
        SURGERY,
        [
            {"variant": variant, "scope": scope, "layer": None, "head": None}
            for variant, scope in (("exact", "all"), ("f+g", "all"), ("f+g", "selection"))
        ],
    ),
    "bands": (
        BANDS,
        [
            {"change": "none"} | dict.fromkeys(("low", "high", "layers", "first_layer", "last_layer", "pairs")),
            {"change": "masked", "layers": "all", "first_layer": 0, "last_layer": 0},
        ],
    ),
    "tolerance": (tolerances.TOLERANCE, [{"fraction": fraction} for fraction in (0.0, 0.5)]),
    "cosines": (tolerances.COSINES, [{"fraction": 0.5}]),
    "perturbed_heads": (tolerances.PERTURBED_HEADS, [*HEADS, {"layer": 0, "head": None}]),
    "predictors": (tolerances.PREDICTORS, HEADS),
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


# Of pairs.csv: the layers of each model and their frequency tables.
LAYERS = {"models": MODELS, "layers": [KEY["layer"]] * len(MODELS), "first_layers": [KEY["layer"]] * len(MODELS)}
ROWS: dict[str, Callable] = {
    "fits_by_model": lambda files: fit.fits_by_model(fit.by_sequence(files("fits")), "key", MODELS, 10, 0),
    "fits_by_prefix": lambda files: fit.fits_by_prefix(
        fit.by_sequence(files("fits")), MODELS, [], dict.fromkeys(MODELS, 2048), 10, 0
    ),
    "mechanism_by_model": lambda files: mechanism.mechanism_by_model(
        mechanism.additivity_by_sequence(files("additivity")),
        *(files("dummies"), files("patterns"), dict.fromkeys(MODELS, 0.5), 1, 10, 0),
    ),
    "additive_by_prefix": lambda files: mechanism.additive_by_prefix(
        mechanism.additivity_by_sequence(files("additivity")), MODELS, 10, 0
    ),
    "heads": lambda files: heads.read_heads(files("heads")),
    "class_counts": lambda files: heads.class_counts(heads.read_heads(files("heads")), MODELS),
    "least_additive": lambda files: heads.least_additive(heads.read_heads(files("heads")), MODELS),
    "relations": lambda files: heads.relations(heads.read_heads(files("heads")), MODELS, 10, 0),
    "length_by_method": lambda files: length.length_by_method(
        {stage: files(stage) for stage in ("losses", "passkeys", "distances", "attention")}
        | {"clouds": files("clouds"), "components": files("continued")},
        MODELS,
        ["plain"],
        10,
        0,
    ),
    "pairs_by_frequency": lambda files: mechanism.pairs_by_frequency(files("patterns"), LAYERS, 10, 0),
    "costs": lambda files: length.costs(files("costs"), MODELS, ["plain"]),
    "by_band": lambda files: surgery.by_band(files("bands"), files("patterns"), MODELS, 10, 0),
    "costs_by_head": lambda files: tolerance.costs_by_head(files("perturbed_heads"), files("predictors")),
    "predictions": lambda files: tolerance.predictions(
        tolerance.costs_by_head(files("perturbed_heads"), files("predictors")), 10, 0
    ),
    "by_variant": lambda files: surgery.by_variant(files("surgery"), MODELS, 10, 0),
    "tolerance_by_fraction": lambda files: tolerance.tolerance_by_fraction(files("tolerance"), MODELS, ["text"], 10, 0),
    "by_condition": lambda files: by_condition(files("tasks"), MODELS, ["cloze"], 10, 0),
}
KEYS: dict[str, Callable] = {
    "distance_by_depth": lambda files: list(fit.distance_by_depth(files("components"))),
    "curves_of": lambda files: [model for model, _ in length.curves_of(files("continued"))],
    "loss_curves": lambda files: [model for model, _ in length.loss_curves(files("losses"), 10, 0)],
    "passkey_grids": lambda files: [model for model, _ in length.passkey_grids(files("passkeys"))],
    "cosines": lambda files: [model for model, _ in tolerance.cosines(files("cosines"))],
}


@pytest.mark.parametrize("reader", ROWS)
def test_the_rows_of_a_table_keep_a_models_name(reader: str, files) -> None:
    assert sorted({row["model"] for row in ROWS[reader](files)}) == MODELS


@pytest.mark.parametrize("reader", KEYS)
def test_a_reader_of_a_stage_keeps_a_models_name(reader: str, files) -> None:
    assert KEYS[reader](files) == MODELS


PARAMETERS = {mechanism.ADDITIVE: {"length": 1}}


def write_table(path: Path, sql: str, stage_files: list[Path]) -> None:
    query.write_csv(path, sql, stage_files, **PARAMETERS.get(sql, {}))


TABLES: dict[str, tuple[str, str, Callable]] = {
    "r_by_head": ("fits", fit.R_BY_HEAD, lambda table: list(fit.r_by_head(table, "key"))),
    "additive_by_head": (
        "additivity",
        mechanism.ADDITIVE,
        lambda table: list(mechanism.additive_by_head(table, "r_additive", "own")),
    ),
    "dummies_of": ("dummies", mechanism.DUMMY_QUARTILES, lambda table: list(mechanism.dummies_of(table))),
}


@pytest.mark.parametrize("reader", TABLES)
@pytest.mark.parametrize("models", [MODELS, MODELS[:1], MODELS[1:]])
def test_a_reader_of_a_table_keeps_a_models_name(reader: str, models: list[str], files, tmp_path: Path) -> None:
    """Alone, names that are all numbers or all dates would make a column of such."""
    stage, sql, read = TABLES[reader]
    own = [file for file in files(stage) if any(f"model={model}/" in str(file) for model in models)]
    write_table(tmp_path / "table.csv", sql, own)
    assert read(tmp_path / "table.csv") == models


@pytest.mark.parametrize("model", MODELS)
def test_a_table_of_rows_keeps_a_models_name(model: str, tmp_path: Path) -> None:
    rows = [{"model": model, "task": model, "perturbation": "text", "variant": "f+g", "fraction": 0.5, "sequences": 3}]
    numbers = ("ratio", "ratio_low", "ratio_high", "added", "added_low", "added_high")
    rows = [row | {"kind": "additive", "chosen": True} | dict.fromkeys(numbers, 1.0) for row in rows]
    (tmp_path / "table.csv").write_text(tables.to_csv(rows))
    (read,) = tables.from_csv(tmp_path / "table.csv")
    assert {name: read[name] for name in rows[0]} == rows[0]
    assert list(tolerance.curves(tmp_path / "table.csv")) == [model]
    assert surgery.surgery_losses(tmp_path / "table.csv", [model])[model].added.tolist() == [1.0]


def a_table(path: Path, rows: list[dict]) -> str:
    path.write_text(tables.to_csv(rows))
    return str(path)


def from_stage(sql: str, stage: str) -> Callable:
    """files, folder -> a table that a query writes of a stage."""

    def write(files: Callable, folder: Path) -> str:
        write_table(folder / "table.csv", sql, files(stage))
        return str(folder / "table.csv")

    return write


def from_rows(reader: str) -> Callable:
    """files, folder -> a table of the rows that a reader of a stage gives."""
    return lambda files, folder: a_table(folder / f"{reader}.csv", ROWS[reader](files))


def stage(name: str) -> Callable:
    return lambda files, folder: [str(file) for file in files(name)]


FIGURES: dict[str, tuple[Callable, dict]] = {
    "heads": (fit_figures.heads, {"table": from_stage(fit.R_BY_HEAD, "fits"), "models": MODELS}),
    "axes": (fit_figures.axes, {"table": from_stage(fit.R_BY_HEAD, "fits"), "models": MODELS}),
    "prefixes": (fit_figures.prefixes, {"table": from_rows("fits_by_prefix"), "models": MODELS}),
    "distance": (fit_figures.distance, {"components": stage("components"), "models": MODELS}),
    "additive": (
        mechanism_figures.additive,
        {"table": from_stage(mechanism.ADDITIVE, "additivity"), "models": MODELS},
    ),
    "pairs": (mechanism_figures.pairs, {"table": from_rows("pairs_by_frequency"), "models": MODELS}),
    "contributions": (
        mechanism_figures.contributions,
        {"table": from_rows("pairs_by_frequency"), "models": MODELS},
    ),
    "dummies": (
        mechanism_figures.dummies,
        {"table": from_stage(mechanism.DUMMY_QUARTILES, "dummies"), "models": MODELS},
    ),
    "classes": (heads_figures.classes, {"table": from_rows("heads"), "models": MODELS}),
    "least_additive": (heads_figures.least_additive, {"table": from_rows("least_additive"), "model": "7"}),
    "interaction": (
        heads_figures.interaction,
        {"table": from_rows("heads"), "relations": from_rows("relations"), "model": "7"},
    ),
    "length_loss": (
        length_figures.length_loss,
        {"losses": stage("losses"), "models": MODELS, "methods": ["plain"], "samples": 10, "seed": 0},
    ),
    "length_clouds": (
        length_figures.length_clouds,
        {"clouds": stage("clouds"), "distances": stage("distances"), "methods": ["plain"]},
    ),
    "length_outliers": (
        length_figures.length_outliers,
        {"table": from_rows("length_by_method"), "models": MODELS, "methods": ["plain"]},
    ),
    "length_attention": (
        length_figures.length_attention,
        {"table": from_rows("length_by_method"), "models": MODELS, "methods": ["plain"]},
    ),
    "length_components": (length_figures.length_components, {"components": stage("continued")}),
    "length_passkeys": (
        length_figures.length_passkeys,
        {"passkeys": stage("passkeys"), "models": MODELS, "methods": ["plain"]},
    ),
    "length_costs": (length_figures.length_costs, {"table": from_rows("costs"), "methods": ["plain"]}),
    "surgery": (surgery_figures.surgery, {"table": from_rows("by_variant"), "models": MODELS}),
    "tolerance": (tolerance_figures.tolerance, {"table": from_rows("tolerance_by_fraction"), "models": MODELS}),
    "cosines": (tolerance_figures.cosines, {"cosines": stage("cosines"), "models": MODELS}),
    "bands": (surgery_figures.bands, {"table": from_rows("by_band"), "model": "7"}),
    "predictors": (
        tolerance_figures.predictors,
        {"heads": from_rows("costs_by_head"), "ranks": from_rows("predictions"), "model": "7"},
    ),
    "tasks": (tasks_figures.tasks, {"table": from_rows("by_condition"), "model": "7"}),
}


@pytest.mark.filterwarnings("ignore")  # one value a model: axes have no extent
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_of_a_model_of_any_name(name: str, files, tmp_path: Path) -> None:
    draw, inputs = FIGURES[name]
    figure = draw(**{key: own(files, tmp_path) if callable(own) else own for key, own in inputs.items()})
    assert figure.axes
    plt.close(figure)


def test_the_database_keeps_a_models_name(files, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    fits = {"fits": [str(file) for file in files("fits")]}
    (tmp_path / "headline.csv").write_text(tables.to_csv([{"model": "7", "mean_r": 0.5}]))
    build_database(tmp_path / "triaxis.duckdb", tmp_path, fits, {}, {"headline": "headline.csv"})
    with duckdb.connect("triaxis.duckdb", read_only=True) as connection:
        assert connection.sql("SELECT DISTINCT model FROM fits ORDER BY ALL").fetchall() == [(name,) for name in MODELS]
        assert connection.sql("FROM tables.headline").fetchall() == [("7", None, None, 0.5)]
