"""Cells: what a reader of a table sees, whatever the table."""

import math

import pytest

from triaxis.report.cells import DASH, cells_of, number, with_interval

NAN = math.nan


def many(**columns: list) -> list[dict]:
    """Rows enough to stand as rows."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def test_an_interval_stands_beside_its_value_and_only_there():
    rows = many(name=list("abcde"), loss=[0.5] * 4 + [NAN], loss_low=[0.4] * 3 + [NAN] * 2, loss_high=[0.61] * 5)
    cells = cells_of(rows)
    assert cells.heads == ["name", "loss [95 %]"]
    assert [row[1] for row in cells.rows] == [*["0.5 [0.4, 0.6]"] * 3, "0.5", DASH]


def test_columns_low_and_high_of_nothing_are_columns():
    cells = cells_of(many(name=list("abcde"), low=[1, 2, 3, 4, 5], high=[2, 3, 4, 5, 6]))
    assert cells.heads == ["name", "low", "high"]


def test_brackets_that_no_row_has_are_not_announced():
    rows = many(name=list("abcde"), r=[0.1, 0.2, 0.3, 0.4, 0.5], r_low=[NAN] * 5, r_high=[NAN] * 5)
    assert cells_of(rows).heads == ["name", "r"]


def test_what_is_missing_is_a_dash_and_what_is_true_a_word():
    cells = cells_of(many(name=list("abcde"), role=["", "x", "x", "x", "x"], chosen=[True, False, True, True, True]))
    assert [row[1:] for row in cells.rows[:2]] == [[DASH, "yes"], ["x", "no"]]


def test_a_column_has_the_decimals_that_it_needs_and_no_more_than_three():
    rows = many(name=list("abcde"), count=[1, 2, 3, 4, 5000], whole=[1.0, NAN, 3.0, 4.0, 5.0])
    rows = [row | {"fraction": 0.05 * place, "r": 1 / (place + 3)} for place, row in enumerate(rows)]
    cells = cells_of(rows)
    assert cells.rows[1] == ["b", "2", DASH, "0.05", "0.250"]
    assert cells.rows[4] == ["e", "5,000", "5", "0.20", "0.143"]
    assert cells.numbers == [False, True, True, True, True]


def test_a_column_of_what_would_be_nothing_has_powers_of_ten():
    small = cells_of(many(name=list("abcde"), error=[1.2e-9, -2e-7, 0.0, NAN, 3e-5]))
    assert [row[1] for row in small.rows] == ["1.2e−09", "−2.0e−07", "0.0e+00", DASH, "3.0e−05"]
    mixed = cells_of(many(name=list("abcde"), error=[1.2e-9, -2e-7, 0.0, 1.0, 0.1234]))
    assert [row[1] for row in mixed.rows] == ["0.000", "0.000", "0.000", "1.000", "0.123"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.88705, "0.887"),
        (-0.0004, "0.000"),
        (-1.5, "−1.500"),
        (24.1657, "24.17"),
        (208.46, "208.5"),
        (5267.4, "5,267"),
    ],
)
def test_a_number_has_about_four_digits(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(NAN, DASH), (math.inf, "∞"), (-math.inf, "−∞")])
def test_what_is_no_number_is_a_sign(value, shown):
    assert number(value) == shown


def test_the_ends_of_an_interval_have_the_decimals_of_their_value():
    assert with_interval({"a": 99.96, "a_low": 4.1234, "a_high": 205.55}, "a") == "99.96 [4.12, 205.6]"


def test_what_all_rows_have_is_said_once():
    cells = cells_of(many(model=["m"] * 5, layer=[0, 1, 2, 3, 4], heads=[9] * 5, cost=[NAN] * 5))
    assert cells.heads == ["model", "layer"]
    assert cells.common == [("heads", "9"), ("cost", DASH)]


def test_series_and_step_are_left_out_where_no_model_has_them():
    rows = many(model=list("abcde"), series=[""] * 5, step=[NAN] * 5, r=[0.1, 0.2, 0.3, 0.4, 0.5])
    assert cells_of(rows).heads == ["model", "r"] and cells_of(rows).common == []
    rows[0]["series"], rows[0]["step"] = "a", 7.0
    assert cells_of(rows).heads == ["model", "series", "step", "r"]


def test_few_rows_of_many_columns_stand_as_columns():
    cells = cells_of([{"model": "m", "r": 0.5, "n": 8}, {"model": "n", "r": 0.25, "n": 8}])
    assert cells.heads == ["model", "m", "n"] and cells.numbers == [False, True, True]
    assert cells.rows == [["r", "0.50", "0.25"], ["n", "8", "8"]]
