"""Attention variants against dense references written here from their definitions, cell by cell."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from triaxis.attention.capture import Call, attending
from triaxis.attention.layout import probe_layouts
from triaxis.base.errors import UserError
from triaxis.length.methods import (
    FIRST,
    Bands,
    Watch,
    clipped,
    inf_llm,
    lm_infinite,
    nth_smallest,
    plain,
    seeded_order,
    thinned,
)

torch.set_num_threads(1)

GRANITE = {"attention_multiplier": 0.02}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
FAMILIES = {
    "llama": ("llama", {}),
    "granite": ("granite", GRANITE),
    "gpt_neox": ("gpt_neox", {"rotary_pct": 0.5}),
    "mistral": ("mistral", {"sliding_window": 11}),
    "mistral, wide": ("mistral", {"sliding_window": 40}),
    "gemma2": ("gemma2", {"head_dim": 16, "sliding_window": 30, "attn_logit_softcapping": 5.0}),
    "gpt_oss": ("gpt_oss", {"head_dim": 16, "num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 30}),
    "smollm3": ("smollm3", {"no_rope_layers": [1, 0]}),
    "llama, yarn": ("llama", {"rope_parameters": YARN}),
}
INF_LLM = {"block": 4, "n_init": 3, "n_local": 16, "topk": 2, "repr_topk": 2, "chunk": 8}
SETTINGS = [
    INF_LLM,
    INF_LLM | {"chunk": 1},
    INF_LLM | {"chunk": 5, "n_init": 0, "topk": 1},
    INF_LLM | {"chunk": 24, "topk": 9},  # chunks longer than the window, more blocks asked for than there are
    INF_LLM | {"published_quirk": True},
    INF_LLM | {"chunk": 24, "published_quirk": True},
]


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def draw(length: int, batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(3, 128, (batch, length)))


def calls(model, tokens: torch.Tensor) -> list[Call]:
    found: list[Call] = []

    def attend(call: Call):
        found.append(call)
        return call.plain()

    run(model, attend, tokens)
    return found


def run(model, attend: Callable, tokens: torch.Tensor, bands: Bands | None = None) -> torch.Tensor:
    with attending(model, probe_layouts(model), attend, mask=bands):
        return model(input_ids=tokens, use_cache=False).logits


class Dense:
    """Logits of any (query, key, distance) in float64, and the softmax over a list of them, by the definitions."""

    def __init__(self, call: Call) -> None:
        self.call, self.rotary = call, call.rotary()
        self.query, self.key, self.value = (x.double().numpy() for x in (call.query, call.key, call.value))
        self.group = self.query.shape[1] // self.key.shape[1]
        self.length = self.query.shape[2]

    def logit(self, b: int, h: int, i: int, j: int, distance: int) -> float:
        q, k, rotary = self.query[b, h, i], self.key[b, h // self.group, j], self.rotary
        q_pairs, k_pairs = (x[rotary.real] + 1j * x[rotary.imaginary] for x in (q, k))
        turned = (q_pairs * k_pairs.conj() * np.exp(1j * rotary.frequency * distance)).real.sum()
        return rotary.scale * (rotary.amplitude**2 * turned + q[rotary.unrotated] @ k[rotary.unrotated])

    def attention(self, b: int, h: int, i: int, cells: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """cells (key, distance) -> their weights, and the output."""
        logits = np.array([self.logit(b, h, i, j, distance) for j, distance in cells])
        if self.call.softcap:
            logits = self.call.softcap * np.tanh(logits / self.call.softcap)
        sink = [] if self.call.sinks is None else [float(self.call.sinks[h])]
        weights = np.exp(np.array([*logits, *sink]) - max([*logits, *sink]))
        weights = (weights / weights.sum())[: len(cells)]
        return weights, weights @ self.value[b, h // self.group, [j for j, _ in cells]]

    def sees(self, i: int, j: int) -> bool:
        return 0 <= i - j < (self.call.window or self.length)

    def lm_infinite(self, n_global: int, n_local: int, limit: int) -> np.ndarray:
        output = np.empty((*self.query.shape[:3], self.value.shape[-1]))
        for b, h, i in np.ndindex(*self.query.shape[:3]):
            near = [(j, i - j) for j in range(i + 1) if i - j < n_local]
            far = [(j, limit) for j in range(i + 1) if j < n_global and i - j >= n_local]
            output[b, h, i] = self.attention(b, h, i, [cell for cell in near + far if self.sees(i, cell[0])])[1]
        return output.transpose(0, 2, 1, 3)

    def thinned(self, keys: int, order: np.ndarray, clip: int) -> np.ndarray:
        """The last half of `keys`, and of the others the other half, first in `order`; distances below `clip`."""
        output = np.empty((*self.query.shape[:3], self.value.shape[-1]))
        for b, h, i in np.ndindex(*self.query.shape[:3]):
            near = [j for j in range(i + 1) if i - j < -(-keys // 2)]
            others = sorted((j for j in range(i + 1) if j not in near), key=lambda j: order[j])[: keys // 2]
            cells = [(j, min(i - j, clip - 1)) for j in near + others if self.sees(i, j)]
            output[b, h, i] = self.attention(b, h, i, cells)[1]
        return output.transpose(0, 2, 1, 3)

    def inf_llm(self, block, n_init, n_local, topk, repr_topk, chunk, published_quirk=False) -> np.ndarray:
        batch, heads, length, _ = self.query.shape
        output = np.empty((batch, heads, length, self.value.shape[-1]))
        for b in range(batch):
            received = np.zeros((heads, length))
            for start in range(0, length, chunk):
                queries = range(start, min(start + chunk, length))
                # Blocks of which no key is within the window of the chunk's first query.
                blocks = []
                while n_init + (len(blocks) + 1) * block - 1 <= start - n_local:
                    blocks.append(range(n_init + len(blocks) * block, n_init + (len(blocks) + 1) * block))
                scores = []
                for members in blocks:
                    score = 0.0
                    for h in range(heads):
                        best = sorted(members, key=lambda j, h=h: -received[h, j])[:repr_topk]
                        representative = self.key[b, h // self.group, best].mean(0)
                        score += self.query[b, h, queries].mean(0) @ representative
                    scores.append(score)
                chosen = sorted(range(len(blocks)), key=lambda n: -scores[n])[:topk]
                retrieved = {j for n in chosen for j in blocks[n]}
                blocked = n_init + len(blocks) * block
                updates = np.zeros_like(received)
                for i in queries:
                    near = [(j, i - j) for j in range(i + 1) if i - j < n_local and self.sees(i, j)]
                    last = queries[-1] if published_quirk else i
                    far = [
                        (j, n_local - 1)
                        for j in range(i + 1)
                        if last - j >= n_local and (j < n_init or j in retrieved or j >= blocked) and self.sees(i, j)
                    ]
                    far = far if (self.call.window or length) > n_local else []
                    for h in range(heads):
                        weights, output[b, h, i] = self.attention(b, h, i, near + far)
                        for (j, _), weight in zip(near, weights, strict=False):
                            updates[h, j] += weight
                received += updates
        return output.transpose(0, 2, 1, 3)


# The definitions


@pytest.mark.parametrize("length", [9, 16, 17, 41])
@pytest.mark.parametrize(("n_global", "n_local", "limit"), [(3, 16, None), (0, 16, None), (5, 1, 7), (2, 16, 60)])
def test_lm_infinite_is_its_definition(build_model, length: int, n_global: int, n_local: int, limit: int | None):
    call = calls(build_model("llama"), draw(length))[1]
    expected = Dense(call).lm_infinite(n_global, n_local, n_local if limit is None else limit)
    for chunk in (7, 512):
        output, _ = lm_infinite(call, n_global=n_global, n_local=n_local, limit=limit, chunk=chunk)
        np.testing.assert_allclose(output, expected, atol=1e-5)


@pytest.mark.parametrize("length", [9, 16, 17, 41])
def test_clipped_attention_sees_all_keys_at_trained_distances(build_model, length: int):
    call = calls(build_model("llama"), draw(length))[1]
    expected = Dense(call).thinned(keys=2 * length, order=np.arange(length), clip=16)
    for chunk in (7, 512):
        np.testing.assert_allclose(clipped(call, clip=16, chunk=chunk)[0], expected, atol=1e-5)


@pytest.mark.parametrize("length", [9, 16, 17, 41])
@pytest.mark.parametrize(("keys", "clip"), [(16, None), (16, 16), (13, None), (13, 16), (16, 20)])
def test_thinned_attention_is_its_definition(build_model, length: int, keys: int, clip: int | None):
    call = calls(build_model("llama"), draw(length))[1]
    expected = Dense(call).thinned(keys, seeded_order(length, 3), clip or length)
    for chunk in (1, 7, 512):
        output, _ = thinned(call, keys=keys, seed=3, clip=clip, chunk=chunk)
        np.testing.assert_allclose(output, expected, atol=1e-5)


def test_thinned_attention_sees_as_many_keys_as_it_says(build_model):
    call, seen = calls(build_model("llama"), draw(41))[1], []
    watch = Watch(torch.arange(41), lambda call, rows, logits, weights: seen.append(logits.isfinite().sum(-1)))
    thinned(call, watch, keys=16, seed=0)
    counts = torch.cat(seen, dim=-1)
    assert (counts == torch.arange(1, 42).clamp(max=16)).all()


def test_a_longer_text_is_thinned_in_the_same_order():
    order = seeded_order(300, 5)
    np.testing.assert_array_equal(order[:40], seeded_order(40, 5))
    assert order[:FIRST].tolist() == list(range(FIRST)) and (order[FIRST:] >= FIRST).all()
    assert len(set(order.tolist())) == 300 and (order != seeded_order(300, 6)).sum() == 300 - FIRST
    # The keys that stay are spread over all that came before: none of the order's own making.
    kept = np.flatnonzero(order <= np.sort(order)[99])
    assert abs(kept.mean() - 149.5) < 3 * 300 / np.sqrt(12 * 100)


def test_the_nth_smallest_so_far_is_that_of_sorting():
    values = np.random.default_rng(0).integers(0, 1000, 50)
    found, none = nth_smallest(values, 7), np.iinfo(np.int64).max
    assert found.tolist() == [none] * 6 + [np.sort(values[: i + 1])[6] for i in range(6, 50)]


@pytest.mark.parametrize("length", [9, 16, 17, 19, 24, 41])
@pytest.mark.parametrize("settings", SETTINGS)
def test_inf_llm_is_its_definition(build_model, length: int, settings: dict):
    call = calls(build_model("llama"), draw(length))[1]
    output, _ = inf_llm(call, **settings)
    np.testing.assert_allclose(output, Dense(call).inf_llm(**settings), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_keep_their_scaling_window_softcap_and_sinks(build_model, family: str):
    name, settings = FAMILIES[family]
    for call in calls(build_model(name, **settings), draw(41, batch=1)):
        output, _ = lm_infinite(call, n_global=3, n_local=16, chunk=10)
        np.testing.assert_allclose(output, Dense(call).lm_infinite(3, 16, 16), atol=1e-5)
        output, _ = inf_llm(call, **INF_LLM)
        np.testing.assert_allclose(output, Dense(call).inf_llm(**INF_LLM), atol=1e-5)
        output, _ = thinned(call, keys=16, seed=0, clip=20, chunk=10)
        np.testing.assert_allclose(output, Dense(call).thinned(16, seeded_order(41, 0), 20), atol=1e-5)


def test_without_grouped_heads_too(build_model):
    call = calls(build_model("llama", num_key_value_heads=4), draw(41, batch=1))[1]
    np.testing.assert_allclose(inf_llm(call, **INF_LLM)[0], Dense(call).inf_llm(**INF_LLM), atol=1e-5)


def test_the_published_quirk_changes_what_chunks_see(build_model):
    call = calls(build_model("llama"), draw(41))[1]
    ours, published = (inf_llm(call, **INF_LLM | {"published_quirk": quirk})[0] for quirk in (False, True))
    assert (ours - published).abs().max() > 1e-3
    one, other = (inf_llm(call, **INF_LLM | {"published_quirk": quirk, "chunk": 1})[0] for quirk in (False, True))
    torch.testing.assert_close(one, other, rtol=0, atol=0)  # a chunk of one query has no boundary


# What must follow


@pytest.mark.parametrize("family", FAMILIES)
def test_a_window_as_long_as_the_text_is_plain_attention(build_model, family: str):
    name, settings = FAMILIES[family]
    for call in calls(build_model(name, **settings), draw(41)):
        for n_local in (41, 60):
            output, _ = lm_infinite(call, n_global=3, n_local=n_local)
            torch.testing.assert_close(output, call.plain()[0], rtol=0, atol=2e-6)
            for output, _ in (
                inf_llm(call, **INF_LLM | {"n_local": n_local}),
                clipped(call, clip=n_local),
                thinned(call, keys=n_local, seed=0),
            ):
                torch.testing.assert_close(output, call.plain()[0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("variant", ["lm_infinite", "inf_llm", "quirk", "clipped", "thinned"])
def test_the_future_stays_unseen(build_model, family: str, variant: str):
    """For InfLLM the unit of causality is the chunk, whose mean query chooses the blocks: a change of later tokens
    may change the choice within its own chunk, never before it."""
    name, settings = FAMILIES[family]
    model = build_model(name, **settings)
    tokens = draw(41)
    changed = tokens.clone()
    changed[:, 32:] = (changed[:, 32:] + 7) % 100 + 3

    def attend(call: Call):
        if variant == "lm_infinite":
            return lm_infinite(call, n_global=3, n_local=16, chunk=10)
        if variant == "clipped":
            return clipped(call, clip=16, chunk=10)
        if variant == "thinned":
            return thinned(call, keys=16, seed=0, clip=16, chunk=10)
        return inf_llm(call, **INF_LLM | {"published_quirk": variant == "quirk"})

    before, after = run(model, attend, tokens), run(model, attend, changed)
    torch.testing.assert_close(before[:, :32], after[:, :32])
    assert (before[:, 32:] - after[:, 32:]).abs().max() > 1e-2


def test_distances_stay_within_the_window(build_model):
    """Keys that differ only beyond the window, and are seen by none, change nothing that the last query gets."""
    call = calls(build_model("llama"), draw(41))[1]
    key = call.key.clone()
    key[:, :, 5:20] += 1
    moved = Call(**{name: getattr(call, name) for name in call.__dataclass_fields__} | {"key": key})
    one, other = (lm_infinite(each, n_global=3, n_local=16)[0] for each in (call, moved))
    torch.testing.assert_close(one[:, 36:], other[:, 36:])
    assert (one[:, 5:35] - other[:, 5:35]).abs().max() > 1e-3


def test_rotation_past_the_end_continues_that_within(build_model):
    for family in ("llama", "gpt_neox", "llama, yarn"):
        name, settings = FAMILIES[family]
        model = build_model(name, **settings)
        tokens = draw(60, batch=1)
        whole, short = calls(model, tokens)[0], calls(model, tokens[:, :20])[0]
        torch.testing.assert_close(short.turned(short.query, 55), whole.turned(whole.query[:, :, :20], 55))


@pytest.mark.parametrize(
    ("family", "variant"),
    # Chunks of a layer with a window start later than at key 0, which the values below do.
    [*((family, "plain") for family in FAMILIES), *(("llama", name) for name in ("lm_infinite", "inf_llm", "clipped"))],
)
def test_what_is_watched_makes_the_output(build_model, family: str, variant: str):
    name, settings = FAMILIES[family]
    options = {"plain": {}, "lm_infinite": {"n_global": 3, "n_local": 41}, "inf_llm": INF_LLM | {"n_local": 41}}
    options["clipped"] = {"clip": 41}
    function = {"plain": plain, "lm_infinite": lm_infinite, "inf_llm": inf_llm, "clipped": clipped}[variant]
    rows = torch.tensor([0, 3, 17, 18, 40])
    for call in calls(build_model(name, **settings), draw(41)):
        seen = []
        watch = Watch(rows, lambda call, rows, logits, weights, seen=seen: seen.append((rows, logits, weights)))
        output, _ = function(call, watch, **options[variant])
        assert torch.cat([own for own, _, _ in seen]).tolist() == rows.tolist()
        for own, logits, weights in seen:
            keys = weights.shape[-1]
            values = call.value[:, :, :keys].repeat_interleave(4 // call.value.shape[1], dim=1)
            torch.testing.assert_close((weights @ values).transpose(1, 2), output[:, own], rtol=0, atol=2e-6)
            distance = own[:, None] - torch.arange(keys)
            hidden = (distance < 0) | (distance >= (call.window or 41))
            torch.testing.assert_close(logits, call.logits()[:, :, own, :keys].masked_fill(hidden, -torch.inf))


# The masks that are not made


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gpt_oss", "smollm3", "gpt_neox"])
def test_without_a_mask_the_result_is_the_same(build_model, family: str):
    name, settings = FAMILIES[family]
    model, tokens, bands = build_model(name, **settings), draw(41), Bands()

    def attend(call: Call):
        return lm_infinite(call, n_global=3, n_local=16)

    def checked(call: Call):
        bands.check(call)
        return attend(call)

    torch.testing.assert_close(run(model, checked, tokens, bands), run(model, attend, tokens), rtol=0, atol=0)


def test_a_mask_of_another_shape_is_refused():
    def chunked(batch, head, query, key):
        return (key <= query) & (key // 4 == query // 4)

    with pytest.raises(UserError, match="neither causal nor a sliding window"):
        Bands()(q_length=15, kv_length=15, mask_function=chunked)
