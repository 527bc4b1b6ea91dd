"""The centres of queries and keys, in a file that needs nothing of Triaxis to be read.

What position says to an average key is a curve of the distance, f(d) = scale Re sum_m q_m conj(k_m) exp(1j t_m d) of
mean query and mean key: docs/method/heads.md, "Centres".
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from triaxis.attention.rope import Rotary
from triaxis.base import files
from triaxis.base.names import is_control
from triaxis.logits.features import Features

Array = NDArray[np.float64]


class Centre:
    """The vectors of some heads, added up: mean, mean norm and concentration of each pair."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, NDArray] = {}

    def add(self, vectors: NDArray[np.float32], rotary: Rotary) -> None:
        """Take in vectors (heads, length, head_dim) before rotation."""
        pairs = rotary.to_complex(vectors)
        sizes = np.abs(pairs)
        phases = np.divide(pairs, sizes, out=np.zeros_like(pairs), where=sizes > 0)
        still = vectors[..., rotary.unrotated].astype(np.float64)
        parts = {"mean": pairs, "norm": sizes, "concentration": phases, "still": still}
        for name, part in parts.items():
            self.sums[name] = self.sums.get(name, 0) + part.sum(1)
        self.count += vectors.shape[1]

    def tensors(self) -> dict[str, Array]:
        """mean: (heads, pairs, 2), real and imaginary parts; norm, concentration: (heads, pairs), mean absolute value
        and mean resultant length of the phases; unrotated_mean: (heads, unrotated)."""
        means = {name: total / self.count for name, total in self.sums.items()}
        return {
            "mean": np.stack([means["mean"].real, means["mean"].imag], axis=-1),
            "norm": means["norm"],
            "concentration": np.abs(means["concentration"]),
            "unrotated_mean": means["still"],
        }


def centres(layers: Iterable[Features], rotaries: Mapping[int, Rotary]) -> dict[str, NDArray]:
    """layers.LAYER.NAME -> its tensor: those of `Centre.tensors` as query.NAME of each query head and key.NAME of each
    key head, float32, and what turns them: frequency (pairs,) radians a token; scale and amplitude (1,); real,
    imaginary (pairs,) and unrotated, the dimensions."""
    found = {(layer, kind): Centre() for layer in rotaries for kind in ("query", "key")}
    for own in layers:
        for kind in ("query", "key"):
            found[own.layer, kind].add(getattr(own, kind), rotaries[own.layer])
    tensors: dict[str, NDArray] = {}
    for (layer, kind), centre in found.items():
        for name, values in centre.tensors().items():
            tensors[f"layers.{layer}.{kind}.{name}"] = values.astype(np.float32)
    for layer, rotary in rotaries.items():
        for name, value in vars(rotary).items():
            tensors[f"layers.{layer}.{name}"] = np.atleast_1d(value)
    return tensors


def write_centres(path: str | Path, tensors: Mapping[str, NDArray], metadata: Mapping[str, str]) -> None:
    """Write tensors as safetensors, with the same bytes every time."""
    content = save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, dict(metadata))
    with files.whole(path) as part:
        part.write_bytes(_ordered(content))


def _ordered(content: bytes) -> bytes:
    """The same file with the keys of its header in order: safetensors writes metadata in an order of its own, another
    each time. Tensors are found by their offsets behind the header, wherever its keys stand."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


def describe(
    features: Mapping[str, str], record: Mapping, corpus: Mapping, sequences: int, length: int
) -> dict[str, str]:
    """The metadata: the model and its revision, what its weights and the corpus are, file by file, and what was read.

    features: the metadata of features/; record, corpus: what was fetched. Drawn weights have no file.
    """
    files_of = {} if is_control(features["model"]) else record["files"]
    weights = {name: own["sha256"] for name, own in sorted(files_of.items()) if name.endswith(".safetensors")}
    texts = {name: own["sha256"] for name, own in sorted(corpus["files"].items())}
    return {
        "model": features["model"],
        "revision": features["revision"],
        "source": str(record["source"]),
        "weights_sha256": json.dumps(weights),
        "corpus": str(corpus["source"]),
        "corpus_sha256": json.dumps(texts),
        "sequences": str(sequences),
        "length": str(length),
        "config_digest": features["config_digest"],
        "code_digest": features["code_digest"],
    }
