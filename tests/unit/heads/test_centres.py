"""The centres of queries and keys: their curve beside all pairs of vectors, their file, and what it says of itself."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open

from triaxis.heads.centres import centres, describe, write_centres
from unit.vectors import LENGTH, ROTARIES, dense_logits, make_features

FEATURES = {"model": "m", "revision": "abc", "config_digest": "1", "code_digest": "2"}
RECORD = {"source": "path:m", "files": {"b.safetensors": {"sha256": "11"}, "config.json": {"sha256": "22"}}}
CORPUS = {"source": "path:t", "files": {"t.txt": {"sha256": "33"}}}


@pytest.mark.parametrize("name", ROTARIES)
def test_the_curve_of_the_centres_is_the_mean_of_all_pairs(name):
    """As docs/howto.md draws it; what does not turn adds a constant."""
    rotary = ROTARIES[name]
    made = [replace(make_features(rotary, seed=seed), sequence=seed, layer=4) for seed in range(2)]
    found = {key.removeprefix("layers.4."): value for key, value in centres(made, {4: rotary}).items()}
    query, key = (found[f"{kind}.mean"] @ [1, 1j] for kind in ("query", "key"))
    turns = np.exp(1j * np.outer(np.arange(LENGTH), found["frequency"]))
    for head in range(4):
        curve = found["amplitude"] ** 2 * ((query[head] * key[head // 2].conj()) @ turns.T).real
        curve = found["scale"] * (curve + found["query.unrotated_mean"][head] @ found["key.unrotated_mean"][head // 2])
        own = [
            np.concatenate([getattr(part, kind)[n] for part in made])
            for kind, n in (("query", head), ("key", head // 2))
        ]
        expected = dense_logits(*own, rotary, range(LENGTH)).mean((0, 2))
        np.testing.assert_allclose(curve, expected, rtol=1e-4, atol=1e-5)


def test_norms_and_concentrations_are_of_each_pair():
    rotary = ROTARIES["partial"]
    layer = make_features(rotary)
    found = centres([layer], {1: rotary})
    pairs = rotary.to_complex(layer.key)
    np.testing.assert_allclose(found["layers.1.key.norm"], np.abs(pairs).mean(1), rtol=1e-6)
    np.testing.assert_allclose(found["layers.1.key.concentration"], np.abs((pairs / np.abs(pairs)).mean(1)), rtol=1e-5)
    assert found["layers.1.query.mean"].dtype == np.float32 and found["layers.1.real"].dtype == np.int64


def test_the_file_says_what_it_is_with_the_same_bytes_every_time(tmp_path):
    """safetensors orders metadata anew each time; twenty entries are hardly ever in one order twice."""
    layer = make_features(ROTARIES["partial"])
    tensors = centres([layer], {1: ROTARIES["partial"]})
    metadata = describe(FEATURES, RECORD, CORPUS, 8, 256) | {f"more {n}": "ü" for n in range(10)}
    for name in ("a", "b"):
        write_centres(tmp_path / name, tensors, metadata)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with safe_open(tmp_path / "a", framework="numpy") as file:
        assert file.metadata() == metadata
        assert set(file.keys()) == set(tensors)
        for name, value in tensors.items():
            np.testing.assert_array_equal(file.get_tensor(name), value)


def test_the_metadata_name_model_weights_and_text():
    own = describe(FEATURES, RECORD, CORPUS, 8, 256)
    assert own["model"] == "m" and own["revision"] == "abc" and own["source"] == "path:m" and own["corpus"] == "path:t"
    assert json.loads(own["weights_sha256"]) == {"b.safetensors": "11"}
    assert json.loads(own["corpus_sha256"]) == {"t.txt": "33"}
    assert (own["sequences"], own["length"]) == ("8", "256")
    drawn = describe(FEATURES | {"model": "m-random"}, RECORD, CORPUS, 8, 256)
    assert json.loads(drawn["weights_sha256"]) == {}
