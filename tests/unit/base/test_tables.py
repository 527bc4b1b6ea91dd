"""CSV tables there and back, and DuckDB's answers as columns."""

import math
from pathlib import Path

import numpy as np
import pytest

from triaxis.base import parquet, query, tables
from triaxis.fit.schema import COMPONENTS


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [
        {"model": "7", "axes": "key", "sequences": 3, "r": 0.5, "low": math.nan, "random_r": math.nan},
        {"model": "a", "axes": "key", "sequences": 4, "r": 1.0, "low": 0.25, "random_r": math.nan},
    ]
    (tmp_path / "table.csv").write_text(tables.to_csv(rows))
    back = tables.from_csv(tmp_path / "table.csv")
    types = {"model": str, "series": str, "step": float}
    types |= {"axes": str, "sequences": int, "r": float, "low": float, "random_r": float}
    assert [{name: type(value) for name, value in row.items()} for row in back] == [types] * 2
    for row, other in zip(rows, back, strict=True):
        assert {name: str(value) for name, value in row.items()} == {name: str(other[name]) for name in row}


def test_a_row_of_a_model_says_of_which_series_and_step_it_is(tmp_path: Path) -> None:
    rows = [{"model": model, "r": 0.5} for model in ("a", "a.step0", "b.seed1.step20", "a-random")]
    text = tables.to_csv(rows)
    assert text.splitlines() == [
        "model,series,step,r",
        *("a,,,0.5", "a.step0,a,0,0.5", "b.seed1.step20,b.seed1,20,0.5", "a-random,,,0.5"),
    ]
    (tmp_path / "table.csv").write_text(text)
    assert tables.to_csv(tables.from_csv(tmp_path / "table.csv")) == text
    found = query.rows(f"SELECT model, series, step FROM {query.table(tmp_path / 'table.csv')} ORDER BY r, model")
    assert found[1] == {"model": "a-random", "series": None, "step": None}
    assert found[-1] == {"model": "b.seed1.step20", "series": "b.seed1", "step": 20}
    assert tables.to_csv([{"name": "a", "r": 1.0}]) == "name,r\na,1.0\n"


def test_a_table_of_a_query_says_so_too(tmp_path: Path) -> None:
    for model, step in (("a.step0", 0), ("a", None)):
        path = tmp_path / f"model={model}/shard-0000.parquet"
        table = COMPONENTS.empty_table().from_pylist([{"sequence": 0, "value": 1.5}], schema=COMPONENTS)
        parquet.write_parquet(path, table, COMPONENTS, {})
        query.write_csv(tmp_path / "table.csv", f"SELECT model, value FROM {query.stage()}", [path])
        series = "" if step is None else "a"
        line = f"{model},{series},{'' if step is None else step},1.5"
        assert (tmp_path / "table.csv").read_text() == f"model,series,step,value\n{line}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model=1.5/shard-0000.parquet"
    rows = [{"sequence": 0, "layer": 0, "head": n, "axis": "key", "index": n, "value": n or None} for n in range(3)]
    parquet.write_parquet(path, COMPONENTS.empty_table().from_pylist(rows, schema=COMPONENTS), COMPONENTS, {})
    return path


@pytest.mark.parametrize("given", [list, tuple, lambda files: [str(file) for file in files]])
def test_a_query_gives_columns_null_as_nan_and_rows_null_as_none(file: Path, given) -> None:
    sql = f"SELECT model, head, value FROM {query.stage()} WHERE head < $below ORDER BY head"
    columns = query.columns(sql, files=given([file]), below=2)
    assert columns["model"].tolist() == ["1.5", "1.5"] and columns["head"].tolist() == [0, 1]
    np.testing.assert_array_equal(columns["value"], [np.nan, 1])
    assert query.rows(sql, files=given([file]), below=2)[0] == {"model": "1.5", "head": 0, "value": None}


def test_rows_are_chosen_by_the_values_of_columns() -> None:
    frame = {"model": np.array(["a", "b", "a"], object), "layer": np.array([0, 0, 1]), "r": np.array([0.1, 0.2, 0.3])}
    assert query.where(frame, model="a", layer=1)["r"].tolist() == [0.3]
    assert {model: r.tolist() for model, r in query.by_layer(frame, "r").items()} == {"a": [[0.1], [0.3]], "b": [[0.2]]}
