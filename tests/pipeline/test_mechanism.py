"""The stages of mechanism and heads in a real run: their files, their views, and what a user is told."""

import csv

import duckdb


def test_every_stage_is_a_view(finished):
    with duckdb.connect() as connection:
        counts = {
            stage: connection.sql(
                f"SELECT model, count(*) FROM read_parquet('{finished.folder}/results/{stage}/**/*.parquet', "
                "hive_partitioning = true) GROUP BY model ORDER BY model"
            ).fetchall()
            for stage in ("additivity", "dummies", "patterns", "head_attention", "prompts", "prompt_scores", "heads")
        }
    matrices = 4 * 2 * 4  # sequences, layers, heads
    rows = {"additivity": (32 + 31 + 32) * matrices, "dummies": 16 * matrices}
    rows |= {
        "patterns": 2 * 4 * matrices,
        "head_attention": matrices,
        "prompts": 8,
        "prompt_scores": 2 * matrices,
        "heads": 8,
    }
    assert counts == {stage: [("tiny", count), ("tiny-random", count)] for stage, count in rows.items()}


def test_the_tables_have_a_row_a_model(finished):
    with (finished.folder / "results/tables/mechanism.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["tiny", "tiny-random"]
    for name in ("mean_r_additive", "mean_key_independence", "scrambled_distance_independence"):
        assert all(0 < float(row[name]) <= 1 for row in rows), name
    assert "tiny,,,0,2,4,0," in (finished.folder / "results/tables/expressivity.csv").read_text()


def test_the_tables_of_heads_have_every_head(finished):
    """Four sequences give no intervals, and so no class."""
    found = {}
    for name in ("heads", "heads_classes", "heads_least_additive", "heads_relations"):
        with (finished.folder / f"results/tables/{name}.csv").open() as file:
            found[name] = list(csv.DictReader(file))
    places = [(row["model"], row["layer"], row["head"]) for row in found["heads"]]
    assert places == [(m, str(n), str(h)) for m in ("tiny", "tiny-random") for n in range(2) for h in range(4)]
    assert {(row["class"], row["sequences"], row["prompts"]) for row in found["heads"]} == {("undecided", "4", "8")}
    assert all(0 < float(row["induction"]) < 1 and row["induction_low"] and not row["r_low"] for row in found["heads"])
    assert sum(bool(row["surgery_loss"]) for row in found["heads"]) == 4  # of one layer of the trained model
    assert [row["undecided"] for row in found["heads_classes"]] == ["8"] * 14
    assert len(found["heads_least_additive"]) == 16 and len(found["heads_relations"]) == 30
    assert "results/centres/model=tiny.safetensors" in finished.digests()


def test_more_dummy_distances_than_there_are_is_one_line(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "distances: 16", "distances: 64")
    run = copy_of_finished.run("results/tables/mechanism.csv")
    assert run.status != 0
    assert "'dummies.distances' is 64, more than sequences.length 32" in run.output
    assert "Traceback" not in run.output


def test_a_change_of_the_distances_reruns_the_mechanism_only(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "distances: 16", "distances: 12")
    assert set(copy_of_finished.dry("results/tables/mechanism.csv").rules) == {
        "measure_mechanism",
        "tabulate_mechanism",
    }
    rules = set(copy_of_finished.dry().rules)
    assert {"tabulate_headline", "plot_additive", "plot_pairs", "plot_dummies"} <= rules
    assert not {"fit_axes", "tabulate_fits", "plot_heads", "plot_axes"} & rules


def test_prefixes_have_a_table_of_their_own(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "fits:", "fits:\n  prefixes: [16]")
    run = copy_of_finished.run("results/tables/additive_prefixes.csv")
    assert run.status == 0, run.output
    with (copy_of_finished.folder / "results/tables/additive_prefixes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["prefix"]) for row in rows] == [
        (model, prefix) for model in ("tiny", "tiny-random") for prefix in ("16", "32")
    ]
    with (copy_of_finished.folder / "results/tables/mechanism.csv").open() as file:
        assert next(csv.DictReader(file))["mean_key_independence"] == rows[1]["mean_key_independence"]
