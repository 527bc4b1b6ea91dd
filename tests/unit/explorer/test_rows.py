"""What is written into the page: which heads, their numbers, and the texts behind their cells."""

from dataclasses import replace

import numpy as np
import pytest

from triaxis.base import parquet, query
from triaxis.explorer.curves import component_curves, shown_distances, spectra
from triaxis.explorer.details import in_context
from triaxis.explorer.heads import FITTED, LABELS, with_details
from triaxis.explorer.rows import notes, rows_of
from triaxis.fit.schema import COMPONENTS
from triaxis.heads.schema import MEASURES
from triaxis.logits.logits import logits
from unit.explorer import stages
from unit.explorer.stages import EXPLORER
from unit.heads import constructed
from unit.heads.constructed import HEADS, LENGTH

TOKENS = EXPLORER["tokens"]


def row(data, name, head, model="m"):
    (found,) = [row for row in data[name] if (row["model"], row["layer"], row["head"]) == (model, 0, HEADS.index(head))]
    return found


def test_every_head_has_its_measures_and_is_named(data, models):
    assert [(own["model"], own["head"]) for own in data["heads"]] == [(m, h) for m in models for h in range(6)]
    assert data["measures"] == [name for name, _ in MEASURES if name != "surgery_loss"]  # which was not run
    own = row(data, "heads", "induction")
    told = query.rows(f"SELECT * FROM {query.stage()} WHERE head = 2", files=models["m"].heads)[0]
    for name, value in zip(data["measures"], own["values"], strict=True):
        assert value is told[name] is None or value == pytest.approx(told[name], rel=1e-3)
    assert own["class"] == "semantic" and own["noted"] == "class: semantic; role: induction"
    assert own["named"] == "m, layer 0, head 2"
    assert own["cited"].endswith("m (sha256:0123456789ab), layer 0, head 2, results/explorer.html")


def test_every_measure_is_told_in_words():
    assert set(LABELS) == {name for name, _ in MEASURES} | set(FITTED)


def test_ranges_are_of_all_models(data):
    for own in data["ranges"]:
        values = [head["values"][own["measure"]] for head in data["heads"]]
        values = [value for value in values if value is not None]
        assert (own["low"], own["high"]) == (min(values), max(values))


def test_heads_with_details_are_the_trained_ones_first_and_of_each_the_least_additive():
    rows = [
        {"model": model, "layer": 0, "head": head, "values": [0.5, value]}
        for model, values in {"a": (0.9, 0.8, None), "b": (0.7, 0.9, 0.6), "a-random": (0.1, 0.2, 0.3)}.items()
        for head, value in enumerate(values)
    ]
    names = ["entropy", "r_additive"]
    assert with_details(names, rows, 1) == {"a": [(0, 1)]}
    assert with_details(names, rows, 3) == {"a": [(0, 0), (0, 1)], "b": [(0, 2)]}
    assert with_details(names, rows, 7) == {
        "a": [(0, 0), (0, 1), (0, 2)],
        "b": [(0, 0), (0, 1), (0, 2)],
        "a-random": [(0, 0)],
    }


def test_the_page_says_what_is_left_out(data, models):
    assert len(data["details"]) == 7 and len(data["curves"]) == 21
    assert "Left out: curves, pictures and texts of 5 heads, more than explorer.heads, 7;" in notes(data, EXPLORER)[2]
    without = [own["noted"] for own in data["heads"] if "measures alone" in own["noted"]]
    assert len(without) == 5
    bare = {model: replace(own, heads=[], patterns=[], features=[], rope=[]) for model, own in models.items()}
    plain = rows_of(bare, LENGTH, EXPLORER | {"heads": 99})
    assert plain["measures"] == ["r", "adjusted_r2"] and plain["details"] == plain["spectra"] == []
    assert plain["heads"][0]["values"] == pytest.approx([0.9, 0.9]) and len(plain["curves"]) == 36
    assert [note.split(",")[0] for note in notes(plain, EXPLORER)[2:]] == [
        "Left out: spectra",
        "Left out: classes and most measures",
    ]
    assert all("without pictures" in own["noted"] for own in plain["heads"])


def test_a_head_that_was_not_fitted_has_no_picture(models, tmp_path):
    """As with logits.heads: no component is filled in."""
    own = stages.write(tmp_path, "m")
    table = parquet.read_parquet(own.components[0], COMPONENTS.names)
    fitted = table.filter(np.isin(table["head"].to_numpy(), [1, 4]))
    parquet.write_parquet(own.components[0], fitted, COMPONENTS, {})
    found = rows_of({"m": own}, LENGTH, EXPLORER)
    assert [one["head"] for one in found["details"]] == [1, 4]
    assert ["without pictures" in one["noted"] for one in found["heads"]] == [True, False, True, True, False, True]


# Curves


def test_components_are_means_with_a_band_over_sequences(data, models):
    (own,) = [one for one in data["curves"] if one["model"] == "m" and one["head"] == 3 and one["axis"] == "distance"]
    assert own["index"] == shown_distances(LENGTH)
    index = np.array(own["index"])
    assert own["mean"] == pytest.approx(2.5 - index / 10, abs=1e-3)
    assert own["low"] == pytest.approx(0.5 - index / 10, abs=1e-3)
    assert own["high"] == pytest.approx(4.5 - index / 10, abs=1e-3)
    (few,) = component_curves(_of_sequences(models["m"].components, 4), [(0, 0)], LENGTH)[:1]
    assert set(few["low"]) == set(few["high"]) == {None} and None not in few["mean"]


def _of_sequences(files, count):
    table = parquet.read_parquet(files[0], COMPONENTS.names)
    path = files[0].parents[1] / "model=few/shard-0000.parquet"
    parquet.write_parquet(path, table.filter(table["sequence"].to_numpy() < count), COMPONENTS, {})
    return [path]


def test_distances_are_closer_together_where_they_are_short():
    assert shown_distances(16) == list(range(16))
    found = shown_distances(8192)
    assert len(found) <= 64 and found[:3] == [0, 1, 2] and found[-1] == 8191
    assert all(np.diff(found)[1:] >= np.diff(found)[:-1] - 1)


def test_a_spectrum_is_a_share_of_the_variance_of_the_head(data, models):
    own = row(data, "spectra", "previous token")
    assert own["turns"] == sorted(own["turns"]) and len(own["turns"]) == constructed.PAIRS
    assert sum(sum(own[part]) for part in ("f", "g", "interaction")) == pytest.approx(1 - own["still"], abs=0.01)
    (semantic,) = spectra(models["m"].patterns, [(0, HEADS.index("semantic"))])
    assert semantic["still"] == 1  # nothing of it turns


# Texts


def exact(head):
    layer = next(constructed.texts())
    number = HEADS.index(head)
    whole = logits(layer.query, layer.key, constructed.ROTARY)[number][:TOKENS, :TOKENS]
    position = np.arange(TOKENS)
    gap = position[:, None] - position
    parts = [stages.component(axis, np.arange(LENGTH), 0) for axis in range(3)]
    return whole, whole - (parts[0][np.abs(gap)] + parts[1][:TOKENS, None] + parts[2][:TOKENS]), gap >= 0


def test_the_cells_are_those_of_the_largest_residual_with_both_texts(data):
    cells = row(data, "details", "mixed")["cells"]
    whole, residual, causal = exact("mixed")
    largest = np.sort(np.abs(residual[causal]))[::-1][:20]
    assert np.abs(cells["residual"]) == pytest.approx(largest, rel=1e-3) and len(cells["residual"]) == 20
    for value, logit, query_text, key_text in zip(*cells.values(), strict=True):
        place = tuple(int(text.split("  ")[0]) for text in (query_text, key_text))
        assert residual[place] == pytest.approx(value, rel=1e-3) and causal[place]
        assert whole[place] == pytest.approx(logit, rel=1e-3)
        for text, at in zip((query_text, key_text), place, strict=True):
            assert f"‹{stages.texts()[at]}›".replace("\n", "⏎") in text


def test_attended_keys_are_told_most_and_least(data):
    keys = row(data, "details", "previous token")["keys"]
    queries = [text for text in keys["query"] if text]
    assert [int(text.split()[0]) for text in queries] == [12, 25, 39] and "‹ w12›" in queries[0]
    assert [int(text.split()[0]) for text in keys["most"][::5]] == [11, 24, 38]
    attention, least = (np.array(keys[f"{end}_attention"]).reshape(3, 5) for end in ("most", "least"))
    assert (np.diff(attention) <= 0).all() and (np.diff(least) >= 0).all() and (attention[:, -1] >= least[:, 0]).all()
    sink = row(data, "details", "sink")["keys"]
    assert {text.split()[0] for text in sink["most"][::5]} == {"0"}


def test_a_text_is_told_in_one_line_between_its_neighbours():
    texts = ["Where", " is", "\n", "it", "?"]
    assert in_context(texts, 1) == "Where‹ is›⏎it?"
    assert in_context(texts, 2) == "Where is‹⏎›it?"
    assert in_context(["x" * 30, "y", "z" * 30], 1) == f"{'x' * 12}‹y›{'z' * 12}"
