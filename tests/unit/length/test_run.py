"""Running past the training length: losses, outputs, passkeys and what is refused."""

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from triaxis.attention.layout import probe_layouts
from triaxis.base.choices import LENGTH_METHODS
from triaxis.base.errors import UserError
from triaxis.length.run import (
    TIMED,
    LengthPlan,
    Method,
    Runner,
    bucket_losses,
    check_lengths,
    make_method,
    run_lengths,
    run_passkeys,
    sample_positions,
)
from triaxis.model.loading import RopeScaling, load_model, training_length_of
from triaxis.model.memory import watch_memory
from triaxis.text.joined import join_documents
from triaxis.text.schema import TOKENS
from unit.families import SIZES

torch.set_num_threads(1)
OPTIONS = {
    "factor": None,
    "seed": 0,
    "lm_infinite": {"n_global": 2, "n_local": None, "limit": None},
    "inf_llm": {"block": 4, "n_init": 2, "n_local": None, "topk": 2, "repr_topk": 2, "chunk": 8},
}
METHODS = list(LENGTH_METHODS)
PLAN = LengthPlan([16, 32, 96], 32, positions=24, bucket=10, seed=0)


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def draw(count: int = 2, length: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(3, 128, (count, length), dtype=np.int32)


def method(name: str, training_length: int = 32) -> Method:
    return make_method(name, OPTIONS, training_length, 96)


@pytest.fixture
def saved(build_model, tmp_path):
    """A tiny Llama's folder; from there a model can be loaded with its RoPE stretched."""
    build_model("llama").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def runner_of(folder, name: str) -> Runner:
    own = method(name)
    model = load_model(folder, "float32", torch.device("cpu"), rope_scaling=own.rope_scaling)
    return Runner(model, probe_layouts(model), own)


# Losses and outputs


def test_buckets_cover_each_predicted_token_once():
    losses = np.arange(1, 32, dtype=float)  # of the tokens at positions 1 to 31
    rows = bucket_losses("plain", 32, 0, losses, [16, 0, 10, 20, 30])
    assert [(row["first"], row["last"], row["tokens"]) for row in rows] == [
        (1, 9, 9),
        (10, 15, 6),
        (16, 19, 4),
        (20, 29, 10),
        (30, 31, 2),
    ]
    assert [row["loss"] for row in rows] == [5.0, 12.5, 17.5, 24.5, 30.5]


@pytest.mark.parametrize("name", METHODS)
def test_a_run_covers_every_length_and_keeps_what_it_says(saved, name: str):
    runner = runner_of(saved, name)
    found = run_lengths(runner, draw(), PLAN)
    assert [row["length"] for row in found.costs] == PLAN.lengths
    # Two sequences are read twice: one pass to warm up, and as many as have to be timed.
    assert all(row["passes"] == TIMED and row["fastest"] <= row["seconds"] <= row["slowest"] for row in found.costs)
    for length in PLAN.lengths:
        own = [row for row in found.losses if row["length"] == length]
        assert sum(row["tokens"] for row in own) == 2 * (length - 1)
        assert {n for n in PLAN.lengths if n < length} < {row["first"] for row in own}
        assert all(np.isfinite(row["loss"]) for row in own)
    outputs = pa.concat_tables(found.outputs).to_pylist()
    assert len(outputs) == 3 * 24 * 2 * 4  # lengths, positions, layers, heads
    before = 0
    for length in PLAN.lengths:
        places = {(row["sequence"], row["position"]) for row in outputs if row["length"] == length}
        assert len(places) == 24 and all(before <= position < length for _, position in places)
        before = length
    for row in found.attention:
        assert 0 <= row["entropy"] <= np.log(row["length"]) and 0 < row["keys"] <= row["length"]
    assert (len(found.components) > 0) == (name in ("plain", "thinned", "yarn", "linear", "dynamic"))
    beyond = {row["keys"] for row in found.attention if row["length"] == 96}
    assert beyond == {32.0} if "thinned" in name else min(beyond) > 16


def test_kept_outputs_are_those_of_the_attention(saved):
    runner, tokens = runner_of(saved, "plain"), draw()
    found = run_lengths(runner, tokens, PLAN)
    seen = {}
    runner.hidden(torch.from_numpy(tokens[1:]).long(), lambda call: seen.setdefault(call.layer, call.plain()))
    table = next(
        table for table in found.outputs if table["length"][0].as_py() == 96 and table["layer"][0].as_py() == 1
    )
    for row in table.to_pylist():
        if row["sequence"] == 1:
            np.testing.assert_allclose(row["vector"], seen[1][0][0, row["position"], row["head"]], atol=1e-5)


def test_positions_do_not_depend_on_the_method_and_few_of_them_are_all():
    one, two = sample_positions(PLAN, 2), sample_positions(PLAN, 2)
    assert all((a == b).all() for length in one for a, b in zip(one[length], two[length], strict=True))
    assert not (one[96][0] == one[96][1]).all()
    assert [len(own[0]) for own in sample_positions(LengthPlan([16, 20], 16, 64, 8, 0), 1).values()] == [16, 4]


def test_methods_agree_within_their_window_and_differ_beyond(saved):
    tokens = draw()
    losses = {}
    for name in ("plain", "lm_infinite", "inf_llm", "linear", "clipped", "thinned", "clipped_thinned"):
        rows = run_lengths(runner_of(saved, name), tokens, PLAN).losses
        losses[name] = {(row["length"], row["sequence"], row["first"]): row["loss"] for row in rows}
    window = 16
    for key, loss in losses["plain"].items():
        if key[2] + 10 <= window:  # a bucket of ten positions at most
            assert losses["lm_infinite"][key] == pytest.approx(loss, abs=1e-5)
            assert losses["inf_llm"][key] == pytest.approx(loss, abs=1e-5)
        if key[2] + 10 <= PLAN.training_length:
            for name in ("clipped", "thinned", "clipped_thinned"):
                assert losses[name][key] == pytest.approx(loss, abs=1e-5)
    last = (96, 0, 90)
    assert len({round(own[last], 5) for own in losses.values()}) == len(losses)


def test_dynamic_scaling_does_not_remember_longer_texts(saved):
    runner = runner_of(saved, "dynamic")
    ids = torch.from_numpy(draw()[:1, :64]).long()
    runner.refresh()
    before = runner.hidden(ids)
    runner.hidden(torch.from_numpy(draw()[:1]).long())
    runner.refresh()
    torch.testing.assert_close(runner.hidden(ids), before, rtol=0, atol=0)


def test_stretching_goes_through_transformers_own_configuration(saved):
    for kind in ("yarn", "linear", "dynamic"):
        model = load_model(saved, "float32", torch.device("cpu"), rope_scaling=RopeScaling(kind, 3.0, 32))
        config = AutoConfig.from_pretrained(saved)
        config.rope_parameters = config.rope_parameters | {
            "rope_type": kind,
            "factor": 3.0,
            "original_max_position_embeddings": 32,
        }
        config.max_position_embeddings = 32 if kind == "dynamic" else 96
        peer = AutoModelForCausalLM.from_pretrained(saved, config=config, dtype=torch.float32).eval()
        ids = torch.from_numpy(draw()).long()
        torch.testing.assert_close(model(ids).logits, peer(ids).logits, rtol=0, atol=0)
        plain = load_model(saved, "float32", torch.device("cpu"))
        assert (model(ids).logits - plain(ids).logits).abs().max() > 1e-3


# Passkeys


class Parrot(torch.nn.Module):
    """Stands for a Runner and its model: the head says the right next token unless `wrong`."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.wrong, self.method, self.model = wrong, method("plain"), self
        self.base_model, self.embedding = torch.nn.Identity(), torch.nn.Embedding(1, 1)

    def refresh(self) -> None: ...

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.embedding

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        following = ids.roll(-1, 1) + (1 if self.wrong else 0)
        return following[..., None].float()

    def forward(self, input_ids: torch.Tensor) -> SimpleNamespace:
        last = self.base_model(input_ids).last_hidden_state
        return SimpleNamespace(logits=10 * torch.nn.functional.one_hot(last[..., 0].long() % 300, 300).float())


@pytest.mark.parametrize("wrong", [False, True])
def test_a_passkey_is_right_if_every_token_of_it_is(wrong: bool):
    rows = run_passkeys(
        Parrot(wrong), lambda text: list(text.encode()), np.full(2000, 120), [1], [400, 500], [0.0, 1.0], 2, seed=0
    )
    assert len(rows) == 2 * 2 * 2
    assert all(row["correct"] is not wrong and row["right"] == (0 if wrong else row["tokens"]) for row in rows)
    needles = {(row["length"], row["depth"]): row["needle"] for row in rows}
    assert needles[400, 0.0] < needles[400, 1.0] < 400


# Documents


def corpus(*lengths: int) -> pa.Table:
    starts = np.cumsum([0, *lengths])
    tokens = [list(range(start, start + length)) for start, length in zip(starts, lengths, strict=False)]
    texts = [["x"] * length for length in lengths]
    return pa.table([list(range(len(lengths))), list(lengths), tokens, texts], schema=TOKENS)


def test_documents_are_joined_and_their_boundaries_recorded():
    tokens = corpus(7, 0, 12, 5, 9, 4, 8, 6, 3, 2)
    rows = join_documents(tokens, [99], length=15, count=3, seed=1).to_pylist()
    for sequence in range(3):
        own = [row for row in rows if row["sequence"] == sequence]
        joined = [token for row in own for token in row["tokens"]]
        assert len(joined) == 15 and joined[0] == 99 and own[0]["document"] is None
        assert [row["first"] for row in own] == np.cumsum([0, *[row["length"] for row in own[:-1]]]).tolist()
        for row in own[1:]:
            document = tokens["tokens"][row["document"]].as_py()
            assert row["tokens"] == document[row["offset"] : row["offset"] + row["length"]]
        # All but the last, which is cut, are whole.
        assert all(row["length"] == tokens["length"][row["document"]].as_py() for row in own[1:-1])
    documents = [row["document"] for row in rows if row["document"] is not None]
    assert len(documents) == len(set(documents))  # none is in two sequences


def test_a_document_that_is_long_enough_is_a_sequence_alone():
    rows = join_documents(corpus(7, 30, 12, 25, 9, 40), [99], length=21, count=3, seed=1).to_pylist()
    own = [row for row in rows if row["document"] is not None]
    assert sorted(row["document"] for row in own) == [1, 3, 5] and {row["length"] for row in own} == {20}
    more = join_documents(corpus(7, 30, 12, 25, 9, 40), [99], length=21, count=4, seed=1).to_pylist()
    assert more[: len(rows)] == rows and sorted({row["document"] for row in more[len(rows) + 1 :]} - {0, 2, 4}) == []


def test_a_window_of_a_long_document_may_be_anywhere_in_it():
    offsets = [join_documents(corpus(30), [], 20, 1, seed)["offset"][0].as_py() for seed in range(60)]
    assert min(offsets) == 0 and max(offsets) == 10


def test_a_corpus_that_is_too_short_says_how_many_sequences_there_are():
    with pytest.raises(UserError, match=r"length.lengths 40 is too long: the corpus, of 33 tokens, fills 0 sequences"):
        join_documents(corpus(7, 12, 5, 9), [], 40, 1, 0)
    # Both halves of one document would do; they are not taken.
    with pytest.raises(UserError, match=r"fills 1 sequences of 15 tokens .*, and length.sequences is 2; lower one"):
        join_documents(corpus(33), [], 15, 2, 0)


# What is refused


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            "lm_infinite",
            {"n_local": 64},
            "length.lm_infinite.n_local 64 is longer than the training length of 32 tokens",
        ),
        ("lm_infinite", {"limit": 64}, "length.lm_infinite.limit 64 is longer than the training length"),
        ("inf_llm", {"n_local": 33}, "length.inf_llm.n_local 33 is longer than the training length"),
    ],
)
def test_windows_that_cannot_be(kind: str, changes: dict, message: str):
    with pytest.raises(UserError, match=message):
        make_method(kind, OPTIONS | {kind: OPTIONS[kind] | changes}, 32, 96)


def test_lengths_that_are_all_beyond_have_no_reference():
    with pytest.raises(UserError, match="are all beyond the training length of 32 tokens"):
        check_lengths([64, 96], 32)
    assert check_lengths([96, 16], 32) == [16, 96]


def test_a_model_without_rope_is_refused():
    torch.manual_seed(0)
    config = AutoConfig.for_model("gpt2", n_layer=2, n_embd=64, n_head=4, vocab_size=128, n_positions=64)
    model = AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(UserError, match="Triaxis needs a RoPE model"):
        probe_layouts(model)
    with pytest.raises(UserError, match="has no RoPE that 'yarn' could scale"):
        RopeScaling("yarn", 2.0, 32).apply(config)


def test_a_model_that_is_stretched_already_is_not_stretched_again():
    linear = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
    config = AutoConfig.for_model("llama", **SIZES | {"rope_parameters": linear})
    with pytest.raises(UserError, match="scales its RoPE already"):
        RopeScaling("yarn", 2.0, 32).apply(config)


def test_attention_that_reads_more_than_its_logits_is_refused(saved):
    runner = runner_of(saved, "lm_infinite")
    runner.check(torch.from_numpy(draw()[:1]).long())

    def halved(module, args, kwargs, output):
        return (output[0] * (0.5 if runner.model.config._attn_implementation == "triaxis" else 1), *output[1:])

    handle = runner.model.model.layers[0].self_attn.register_forward_hook(halved, with_kwargs=True)
    try:
        with pytest.raises(UserError, match="refuses lm_infinite"):
            runner.check(torch.from_numpy(draw()[:1]).long())
    finally:
        handle.remove()


def test_the_training_length_is_what_the_configuration_says():
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
    assert training_length_of(AutoConfig.for_model("llama", **SIZES)) == 64
    assert training_length_of(AutoConfig.for_model("llama", **SIZES | {"rope_parameters": yarn})) == 16


# Memory


def test_the_peak_is_that_of_the_stretch_watched():
    peak = watch_memory(torch.device("cpu"))
    if peak() is None:
        pytest.skip("this system keeps no high-water mark that can be reset")
    block = torch.ones(64 * 2**20)  # 256 MiB
    del block
    assert 200 < peak() < 400
    again = watch_memory(torch.device("cpu"))
    assert again() < 100


@pytest.mark.parametrize("kind", ["lm_infinite", "inf_llm", "clipped", "thinned", "clipped_thinned"])
def test_chunked_attention_never_holds_a_square(saved, kind: str):
    """No tensor made on the way has a cell for each (query, key): counted by the sizes that torch allocates."""
    runner = runner_of(saved, kind)
    own = {"n_global": 2, "n_local": 16} if kind == "lm_infinite" else {"n_local": 16} if kind == "inf_llm" else {}
    function = partial(runner.method.attend, chunk=16, **own)
    largest = 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            nonlocal largest
            result = operation(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    length = 1024
    calls = []
    ids = torch.from_numpy(draw(1, length)).long()
    runner.hidden(ids, lambda call: calls.append(call) or call.plain())
    with Sizes():
        function(calls[0])
    assert largest < length * length / 4  # one head's square would be four times that
