"""The mechanism's stages in a real run: their files, their views, and what a user is told."""

import csv

import duckdb


def test_every_stage_is_a_view(finished):
    with duckdb.connect() as connection:
        counts = {
            stage: connection.sql(
                f"SELECT model, count(*) FROM read_parquet('{finished.folder}/results/{stage}/**/*.parquet', "
                "hive_partitioning = true) GROUP BY model ORDER BY model"
            ).fetchall()
            for stage in ("additivity", "dummies", "patterns", "related")
        }
    matrices = 4 * 2 * 4  # sequences, layers, heads
    rows = {"additivity": 4 * matrices, "dummies": 16 * matrices, "patterns": 2 * 4 * matrices, "related": 2 * matrices}
    assert counts == {stage: [("tiny", count), ("tiny-random", count)] for stage, count in rows.items()}


def test_the_tables_have_a_row_a_model(finished):
    with (finished.folder / "results/tables/mechanism.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["tiny", "tiny-random"]
    assert all(0 < float(row["mean_r_additive"]) <= 1 for row in rows)
    assert "tiny,0,2,4,0," in (finished.folder / "results/tables/expressivity.csv").read_text()


def test_a_grid_larger_than_the_sequence_is_one_line(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "keys: 16", "keys: 64")
    run = copy_of_finished.run("results/tables/mechanism.csv")
    assert run.status != 0
    assert "'mechanism.keys' is 64, more than sequences.length 32" in run.output
    assert "Traceback" not in run.output


def test_a_change_of_the_grid_reruns_the_probes_only(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "keys: 16", "keys: 12")
    rules = copy_of_finished.dry("results/tables/mechanism.csv").rules
    assert set(rules) == {"measure_mechanism", "tabulate_mechanism"}


def test_a_change_of_the_grid_leaves_the_fits_their_tables_and_their_figures(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "keys: 16", "keys: 12")
    rules = set(copy_of_finished.dry().rules)
    assert {"tabulate_headline", "plot_additive", "plot_pairs", "plot_dummies"} <= rules
    assert not {"fit_axes", "tabulate_fits", "plot_heads", "plot_axes"} & rules
