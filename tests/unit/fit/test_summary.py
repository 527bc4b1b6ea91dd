"""The tables of the fits against numpy, their intervals, and how they are written."""

import csv
import io
import logging
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from triaxis.base import parquet, query
from triaxis.base.stats import interval
from triaxis.base.tables import from_csv, to_csv
from triaxis.fit.axes import designs
from triaxis.fit.combinations import COMBINATIONS, FULL
from triaxis.fit.fits_file import write_fits
from triaxis.fit.groups import draw_groups
from triaxis.fit.schema import SUMS
from triaxis.fit.summary import (
    FROM_ADDITIVE,
    FROM_MECHANISM,
    R_BY_HEAD,
    by_sequence,
    fits_by_model,
    fits_by_prefix,
    headline,
    of_whole_sequences,
    pooled_r,
    r_by_head,
    to_tex,
)
from triaxis.fit.sums import sum_logits
from triaxis.fit.sums_file import read_sums
from triaxis.report.database import build_database

LENGTH, LAYERS, HEADS, SEQUENCES = 16, 2, 3, 6
MODELS = ("tiny", "tiny-random")


@pytest.fixture
def run(tmp_path, write_logits, monkeypatch):
    """The files fits/ and sums/ of some models, two shards of three sequences each, and their logits; constant: the
    layers whose matrices are constant in some sequences, as {layer: sequences}; prefixes: of the sequences."""

    def make(models=MODELS, constant=None, prefixes=()):
        monkeypatch.chdir(tmp_path)
        logits, files = {}, {"fits": [], "sums": []}
        own_designs = {length: designs(length, 0) for length in (LENGTH, *prefixes)}
        for number, model in enumerate(models):
            generator = np.random.default_rng(number)
            shape = (SEQUENCES, LAYERS, HEADS, LENGTH, LENGTH)
            sizes, offsets = generator.uniform(0.5, 3, (*shape[:3], 1, 1)), generator.normal(0, 2, (*shape[:3], 1, 1))
            trend = generator.standard_normal((*shape[:3], 1, LENGTH))
            logits[model] = (sizes * (generator.standard_normal(shape) + trend) + offsets).astype(np.float32)
            for layer, sequences in (constant or {}).items():
                logits[model][sequences, layer] = 0
            for shard in range(2):
                first = SEQUENCES // 2 * shard
                own = logits[model][first : first + SEQUENCES // 2]
                path = write_logits(tmp_path / "logits.parquet", own, first)
                name = f"model={model}/shard-{shard:04d}.parquet"
                rows = (
                    batch
                    for length in own_designs
                    for batch in sum_logits([path], draw_groups(length, 0), threads=2, memory_mb=512, spill=tmp_path)
                )
                parquet.write_parquet(f"sums/{name}", rows, SUMS, {})
                summed = (part for own in own_designs.values() for part in read_sums(f"sums/{name}", *own))
                write_fits(summed, own_designs, f"fits/{name}", f"components/{name}", {}, logging.getLogger("test"))
                files["fits"].append(f"fits/{name}")
                files["sums"].append(f"sums/{name}")
        return logits, files

    return make


def cells_and_fits(matrices: np.ndarray, axes: str) -> tuple[np.ndarray, np.ndarray]:
    """(matrices, cells): the causal cells of matrices (..., length, length) and their dense least-squares fits."""
    query, key = np.tril_indices(LENGTH)
    index = {"distance": query - key, "query": query, "key": key}
    design = np.hstack([np.eye(LENGTH)[index[axis]] for axis in axes.split("+")])
    cells = matrices[..., query, key].astype(np.float64).reshape(-1, len(query))
    return cells, (design @ np.linalg.lstsq(design, cells.T)[0]).T


# The numbers


@pytest.mark.parametrize("axes", COMBINATIONS)
def test_rows_by_sequence_are_numpys(run, axes):
    logits, files = run()
    frame = by_sequence(files["fits"])
    rows = [dict(zip(frame, values, strict=True)) for values in zip(*frame.values(), strict=True)]
    places = [(row["model"], row["axes"], row["sequence"]) for row in rows]
    assert places == sorted((model, axes, n) for model in MODELS for axes in COMBINATIONS for n in range(SEQUENCES))
    for row in rows:
        if row["axes"] != axes:
            continue
        cells, fits = cells_and_fits(logits[row["model"]][row["sequence"]], axes)
        r = np.array([np.corrcoef(*pair)[0, 1] for pair in zip(cells, fits, strict=True)])
        assert (row["matrices"], row["layers"], row["heads"]) == (LAYERS * HEADS, LAYERS, HEADS)
        assert row["r"] == pytest.approx(r.mean(), abs=1e-9)
        assert row["r2"] == pytest.approx((r**2).mean(), abs=1e-9)
        assert row["count"] == cells.size
        assert row["total"] == pytest.approx(cells.sum(), abs=1e-8)
        assert row["squares"] == pytest.approx((cells**2).sum(), rel=1e-9)
        assert row["residual"] == pytest.approx(((cells - fits) ** 2).sum(), rel=1e-7)


@pytest.mark.parametrize("axes", COMBINATIONS)
def test_pooled_r_is_the_correlation_of_all_cells_with_their_fits(run, axes):
    logits, files = run()
    rows = fits_by_model(by_sequence(files["fits"]), axes, MODELS, 100, 0)
    for row in rows:
        cells, fits = cells_and_fits(logits[row["model"]], axes)
        assert row["pooled_r"] == pytest.approx(np.corrcoef(cells.ravel(), fits.ravel())[0, 1], abs=1e-9)


def test_pooled_r_sums_along_its_axis():
    generator = np.random.default_rng(0)
    count = np.full((3, 5), 10.0)
    total, squares, residual = generator.normal(0, 3, (3, 5)), generator.uniform(20, 30, (3, 5)), np.ones((3, 5))
    columns = (count, total, squares, residual)
    along = pooled_r(*columns, axis=-1)
    np.testing.assert_allclose(along, [pooled_r(*(column[n] for column in columns)) for n in range(3)])
    np.testing.assert_allclose(pooled_r(*(column.T for column in columns), axis=0), along)


def test_means_are_those_of_the_fits(run):
    _, files = run()
    rows = fits_by_model(by_sequence(files["fits"]), FULL, MODELS, 100, 0)
    for row in rows:
        own = [file for file in files["fits"] if f"model={row['model']}/" in file]
        fits = [fit for file in own for fit in pq.ParquetFile(file).read().to_pylist() if fit["axes"] == FULL]
        for name, column in (("mean_r", "r"), ("adjusted_r2",) * 2, ("heldout_r",) * 2, ("null_r",) * 2):
            assert row[name] == pytest.approx(np.mean([fit[column] for fit in fits]), abs=1e-12)
        assert row["mean_r_low"] < row["mean_r"] < row["mean_r_high"]
        assert row["pooled_r_low"] < row["pooled_r"] < row["pooled_r_high"]


def test_models_keep_the_order_asked_for(run):
    _, files = run()
    table = by_sequence(files["fits"][::-1])
    for models in (MODELS, MODELS[::-1]):
        rows = fits_by_model(table, FULL, models, 100, 0)
        assert [row["model"] for row in rows] == list(models)
        assert [row["weights"] for row in rows] == ["random" if "random" in model else "trained" for model in models]
        assert all((row["sequences"], row["layers"], row["heads"]) == (SEQUENCES, LAYERS, HEADS) for row in rows)


@pytest.mark.parametrize("name", ["7", "1.5", "2024-01-01", "true"])
def test_a_model_may_have_a_name_that_looks_like_a_number_or_a_date(run, name):
    _, files = run([name])
    (row,) = fits_by_model(by_sequence(files["fits"]), FULL, [name], 100, 0)
    assert row["model"] == name and row["sequences"] == SEQUENCES
    own = {"fits": [str(file) for file in files["fits"]]}
    build_database(Path("triaxis.duckdb"), Path.cwd(), own, {"sums": "sums/**/*.parquet"}, {})
    with duckdb.connect("triaxis.duckdb", read_only=True) as connection:
        for view in ("fits", "sums"):
            assert connection.execute(f"SELECT DISTINCT model FROM {view}").fetchall() == [(name,)]


# The first tokens of each sequence


def test_whole_sequences_are_told_from_their_first_tokens(run, tmp_path):
    _, alone = run()
    expected = fits_by_model(by_sequence(alone["fits"]), FULL, MODELS, 100, 0)
    query.write_csv(tmp_path / "alone.csv", R_BY_HEAD, alone["fits"])
    _, both = run(prefixes=[9, 5])
    frame = by_sequence(both["fits"])
    assert np.unique(frame["prefix"]).tolist() == [5, 9, LENGTH]
    assert fits_by_model(of_whole_sequences(frame), FULL, MODELS, 100, 0) == expected
    query.write_csv(tmp_path / "both.csv", R_BY_HEAD, both["fits"])
    assert (tmp_path / "both.csv").read_text() == (tmp_path / "alone.csv").read_text()


def test_the_table_of_the_first_tokens_has_the_fits_means_and_what_the_mechanism_found(run):
    logits, files = run(prefixes=[9])
    names = [f"mean_{name}{end}" for name in FROM_ADDITIVE for end in ("", "_low", "_high")]
    additive = [
        {"model": "tiny", "prefix": 9, "sequences": SEQUENCES} | {name: n / 100 for n, name in enumerate(names)}
    ]
    lengths = {"tiny": 2048, "tiny-random": float("nan")}
    rows = fits_by_prefix(by_sequence(files["fits"]), MODELS, additive, lengths, 100, 0)
    assert [(row["model"], row["prefix"]) for row in rows] == [(model, n) for model in MODELS for n in (9, LENGTH)]
    assert [row["training_length"] for row in rows[:2]] == [2048] * 2 and np.isnan(rows[2]["training_length"])
    assert {name: rows[0][name] for name in names} == {name: additive[0][name] for name in names}
    assert all(np.isnan(row[name]) for row in rows[1:] for name in names)
    own, level = np.tril_indices(9)
    design = np.hstack([np.eye(9)[own - level], np.eye(9)[own], np.eye(9)[level]])
    cells = logits["tiny"][..., own, level].reshape(-1, len(own)).astype(float)
    fits = (design @ np.linalg.lstsq(design, cells.T)[0]).T
    r = np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(cells, fits, strict=True)])
    assert rows[0]["mean_r"] == pytest.approx(r, abs=1e-9)
    assert rows[0]["mean_r_low"] < r < rows[0]["mean_r_high"]
    assert rows[0]["null_r"] == pytest.approx(np.sqrt((3 * 9 - 3 - 1) / 44)) and rows[0]["sequences"] == SEQUENCES


# Constant matrices, which have no r


def test_constant_matrices_are_counted_and_left_out(run):
    """A layer that is constant in all sequences, and, in the second model, one of all layers in one sequence."""
    logits, files = run(MODELS, constant={0: slice(None), 1: [2]})
    for row in fits_by_model(by_sequence(files["fits"]), FULL, MODELS, 100, 0):
        assert row["sequences"] == SEQUENCES and row["constant_matrices"] == HEADS * (SEQUENCES + 1)
        kept = np.delete(logits[row["model"]][:, 1], 2, axis=0)
        cells, fits = cells_and_fits(kept, FULL)
        r = [np.corrcoef(*pair)[0, 1] for pair in zip(cells, fits, strict=True)]
        assert row["mean_r"] == pytest.approx(np.mean(r), abs=1e-9)
        assert row["pooled_r"] == pytest.approx(np.corrcoef(cells.ravel(), fits.ravel())[0, 1], abs=1e-9)
        assert row["mean_r_low"] < row["mean_r"] < row["mean_r_high"]
        assert all(np.isfinite(row[name]) for name in ("pooled_r_low", "adjusted_r2", "heldout_r", "null_r"))


def test_a_model_without_a_matrix_that_varies_has_no_values_and_a_null(run):
    _, files = run(["still"], constant={0: slice(None), 1: slice(None)})
    (row,) = fits_by_model(by_sequence(files["fits"]), FULL, ["still"], 100, 0)
    assert row["constant_matrices"] == SEQUENCES * LAYERS * HEADS and row["null_r"] > 0
    for name in ("mean_r", "mean_r_low", "pooled_r", "pooled_r_high", "adjusted_r2", "heldout_r"):
        assert np.isnan(row[name]), name
    assert "still & 6 & -- [--, --] & -- [--, --]" in to_tex(headline([row], {}, []))


def test_heads_are_means_over_the_sequences_in_which_they_vary(run, tmp_path):
    _, files = run(["m"], constant={0: slice(None), 1: [2]})
    query.write_csv(tmp_path / "r_by_head.csv", R_BY_HEAD, files["fits"])
    (r,) = r_by_head(tmp_path / "r_by_head.csv", FULL).values()
    own = [row for file in files["fits"] for row in pq.ParquetFile(file).read().to_pylist() if row["axes"] == FULL]
    assert np.isnan(r[0]).all()
    for head in range(HEADS):
        known = [row["r"] for row in own if row["layer"] == 1 and row["head"] == head and row["sequence"] != 2]
        assert len(known) == SEQUENCES - 1 and r[1, head] == pytest.approx(np.mean(known))


# The intervals


def mean(values, axis=-1):
    return values.mean(axis)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        low, high = interval((generator.normal(3, 1, 25),), mean, 300, trial)
        covered += low <= 3 <= high
    # 95 %, less the 2 % that percentiles lose at this size; four standard errors of 200 trials.
    assert abs(covered / 200 - 0.93) < 4 * np.sqrt(0.93 * 0.07 / 200)


def test_an_interval_follows_its_seed():
    values = (np.random.default_rng(0).normal(size=10),)
    assert interval(values, mean, 200, 1) == interval(values, mean, 200, 1) != interval(values, mean, 200, 2)


def test_columns_are_resampled_together():
    first = np.random.default_rng(0).normal(size=12)

    def difference(a, b, axis=-1):
        return (a - b).mean(axis)

    assert interval((first, first - 1), difference, 100, 0) == pytest.approx((1, 1))


@pytest.mark.parametrize("sequences", [1, 4])
def test_fewer_than_five_sequences_have_no_interval(run, sequences):
    _, files = run()
    frame = by_sequence(files["fits"])
    few = {name: values[frame["sequence"] < sequences] for name, values in frame.items()}
    (row,) = fits_by_model(few, FULL, ["tiny"], 100, 0)
    assert row["sequences"] == sequences and 0 < row["mean_r"] < 1
    assert all(np.isnan(row[f"{name}_{end}"]) for name in ("mean_r", "pooled_r") for end in ("low", "high"))
    line = next(csv.DictReader(io.StringIO(to_csv(headline([row], {row["model"]: ADDITIVE}, [row["model"]])))))
    assert (
        line["mean_r_low"]
        == line["mean_r_high"]
        == line["pooled_r_low"]
        == line["pooled_r_high"]
        == line["random_r"]
        == ""
    )
    assert "[--, --]" in to_tex(headline([row], {row["model"]: ADDITIVE}, [row["model"]]))


# How they are written


ADDITIVE = dict.fromkeys(FROM_MECHANISM.values(), 0.5) | {"mean_r_additive": 0.97, "mean_interaction": float("nan")}
MECHANISM = {"a_b": ADDITIVE, "a_b-random": ADDITIVE}


def some_rows() -> list[dict]:
    numbers = {"mean_r": 0.88, "mean_r_low": 0.8, "mean_r_high": 0.9, "pooled_r": 0.95, "pooled_r_low": 0.9}
    numbers |= {"pooled_r_high": 0.96, "adjusted_r2": 0.7, "heldout_r": 0.6, "null_r": 0.153}
    place = {"sequences": 8, "layers": 30, "heads": 9, "axes": FULL}
    return [
        {"model": "a_b", "weights": "trained", **place, **numbers},
        {"model": "a_b-random", "weights": "random", **place, **(numbers | {"mean_r": 0.89})},
    ]


def test_the_headline_sets_each_model_beside_its_control():
    trained, random = headline(some_rows(), MECHANISM, list(MECHANISM))
    assert trained["random_r"] == 0.89 and np.isnan(random["random_r"])
    assert "paper_r" not in trained
    assert trained["r_additive"] == 0.97 and trained["scrambled_key_independence"] == 0.5
    assert np.isnan(trained["interaction"])
    assert "axes" not in trained and trained["mean_r"] == 0.88 and trained["null_r"] == 0.153
    (alone,) = headline(some_rows()[:1], MECHANISM, list(MECHANISM))
    assert np.isnan(alone["random_r"])


def test_csv_has_every_digit_and_nothing_for_nan():
    rows = [{"model": "a", "count": 3, "r": 0.5}, {"model": "b", "count": 4, "r": float("nan")}]
    assert to_csv(rows) == "model,series,step,count,r\na,,,3,0.5\nb,,,4,\n"
    read = list(csv.DictReader(io.StringIO(to_csv(headline(some_rows(), MECHANISM, list(MECHANISM))))))
    assert [row["random_r"] for row in read] == ["0.89", ""]


@pytest.mark.parametrize("value", [1 / 3, np.float64(2) / 3, 1e-9 / 3, 1 - 2**-53, 1.0, -0.0, 1e300])
def test_a_table_made_of_another_loses_no_digit(tmp_path, value):
    (tmp_path / "rows.csv").write_text(to_csv([{"model": "a", "r": value}]))
    (read,) = from_csv(tmp_path / "rows.csv")
    assert type(read["r"]) is float and read["r"] == value


def test_the_headline_has_the_digits_of_the_fits(run, tmp_path):
    _, files = run()
    rows = fits_by_model(by_sequence(files["fits"]), FULL, MODELS, 100, 0)
    (tmp_path / "axes.csv").write_text(to_csv(rows))
    for made, row in zip(headline(from_csv(tmp_path / "axes.csv"), {}, []), rows, strict=True):
        assert made["mean_r"] == row["mean_r"] and made["pooled_r_low"] == row["pooled_r_low"]


def test_csv_is_read_as_it_was_written(tmp_path):
    rows = [{"model": "7", "weights": "trained", "axes": FULL, "sequences": 8, "r": 0.5, "low": float("nan")}]
    (tmp_path / "rows.csv").write_text(to_csv(rows))
    (read,) = from_csv(tmp_path / "rows.csv")
    assert np.isnan([read.pop("low"), read.pop("step")]).all() and read.pop("series") == ""
    assert read == {key: value for key, value in rows[0].items() if key != "low"}
    assert [type(value) for value in read.values()] == [str, str, str, int, float]


def test_tex_is_a_table_with_intervals_and_escaped_names():
    lines = to_tex(headline(some_rows(), MECHANISM, list(MECHANISM))).splitlines()
    assert lines[0] == r"\begin{tabular}{lrllrrrrrrrrrrrr}" and lines[-1] == r"\end{tabular}"
    trained = r"a\_b & 8 & 0.880 [0.800, 0.900] & 0.950 [0.900, 0.960] & 0.700 & 0.600 & 0.153"
    assert lines[4] == trained + r" & 0.890 & 0.970 & 0.500 & 0.500 & -- & 0.500 & 0.500 & 0.500 & 0.500 \\"
    assert lines[5].endswith(r"& 0.153 & -- & 0.970 & 0.500 & 0.500 & -- & 0.500 & 0.500 & 0.500 & 0.500 \\")
    assert all(line.count("&") == 15 for line in (lines[2], lines[4], lines[5]))


def test_a_mechanism_is_measured_or_could_have_been_or_does_not_exist():
    rows = headline(some_rows(), {}, [some_rows()[0]["model"]])
    assert [row["mechanism"] for row in rows] == ["not measured", "not applicable"]
    assert "n/a" in to_tex(rows)
