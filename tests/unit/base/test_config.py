"""The configuration: every fault named in one line, every default in one place."""

import copy
import datetime
from collections import OrderedDict
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

import write_configuration
from triaxis.base.choices import LENGTH_METHODS
from triaxis.base.config import Config, resolve
from triaxis.base.errors import UserError
from triaxis.base.section import WRONG
from triaxis.length.run import make_method
from write_configuration import PAGE, PROJECT, SCHEMA

CONFIGS = [PROJECT / "config.yaml", *sorted((PROJECT / "config").glob("*.yaml"))]
MINIMAL = {"models": {"tiny": {"source": "path:model"}}, "corpus": {"source": "path:corpus.txt"}}
# Keys that follow others where config.yaml leaves them at null.
FOLLOWING = {
    ("dummies", "distances"),
    ("explorer", "tokens"),
    ("heads", "period"),
    ("surgery", "sequences"),
    ("surgery", "step_sequences"),
    ("surgery", "heads_of_layers"),
    ("tolerance", "sequences"),
    ("tolerance", "head_sequences"),
}


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def sections(node: dict, at: tuple[str, ...] = ()):
    """Every section of the schema with its place; `*` stands for any name."""
    for option in node.get("anyOf", [node]):
        if "properties" in option:
            yield at, option
        for name, sub in option.get("properties", {}).items():
            yield from sections(sub, (*at, name))
        if isinstance(option.get("additionalProperties"), dict):
            yield from sections(option["additionalProperties"], (*at, "*"))


def changed(place: str, value) -> dict:
    """A minimal configuration with `value` at `place`."""
    config = copy.deepcopy(MINIMAL)
    *parents, last = place.split(".")
    at = config
    for name in parents:
        at = at.setdefault(name, {})
    at[last] = value
    return config


def at(config: dict, place: str):
    for name in place.split("."):
        config = config[name]
    return config


def message(config: dict) -> str:
    with pytest.raises(UserError) as caught:
        resolve(config)
    said = str(caught.value)
    assert "\n" not in said and said.startswith("config key '") and "pydantic" not in said.lower()
    return said


SECTIONS = dict(sections(load(SCHEMA)))
KEYS = [(place, key) for place, section in SECTIONS.items() for key in section["properties"]]
# What a section below needs, so that the misspelt key is its only fault.
OPTIONAL = {"longbench": {"source": "path:questions.zip"}, "harness": {"tasks": {"lambada_openai": "acc"}}}
TRAINING = {"architecture": {"model_type": "llama"}, "steps": 20}


# Unknown keys


@pytest.mark.parametrize(("place", "key"), KEYS, ids=lambda value: ".".join(value) if value else "top")
def test_a_misspelt_key_is_named_with_the_nearest_one(place, key):
    """The last letter doubled, at each depth; whatever else is then missing is not what the user is told."""
    names = ["tiny" if name == "*" else name for name in place]
    wrong = resolve(MINIMAL)
    wrong["tasks"] |= copy.deepcopy(OPTIONAL)
    wrong["models"]["tiny"]["training"] = copy.deepcopy(TRAINING)
    section = at(wrong, ".".join(names)) if names else wrong
    section.pop(key, None)
    section[key + key[-1]] = None
    whole = ".".join([*names, key + key[-1]])
    assert message(wrong) == f"config key '{whole}' is unknown; did you mean '{key}'?"


def test_an_unknown_key_is_told_before_any_other_fault():
    config = {"corpus": MINIMAL["corpus"], "sequences": {"lenght": 3}, "features": 3}
    assert message(config) == "config key 'sequences.lenght' is unknown; did you mean 'length'?"


def test_of_other_faults_the_one_nearest_the_top_is_told():
    config = MINIMAL | {"features": "all", "sequences": {"count": "eight"}}
    assert message(config).startswith("config key 'features': 'all' is not a mapping")


def test_an_unknown_key_near_to_none_is_shown_the_keys_there_are():
    said = message(changed("sequences.zzz", 1))
    assert said == ("config key 'sequences.zzz' is unknown; the keys here are count, length, per_document, seed, shard")


@pytest.mark.parametrize(
    ("place", "new"),
    [
        ("fits.half_seed", "fits.heldout_seed"),
        ("features.device", "run.device"),
        ("features.dtype", "run.dtype"),
        ("features.batch", "run.batch_tokens"),
        ("run.batch", "run.batch_tokens"),
        ("tolerance.ways", "tolerance.perturbations"),
        ("length_short", "add length to experiments"),
    ],
)
def test_a_key_of_an_earlier_version_is_told_its_new_name(place, new):
    said = message(changed(place, "cpu"))
    assert said.startswith(f"config key '{place}' is unknown: ") and new in said


# Missing and wrong


@pytest.mark.parametrize("place", ["models", "corpus", "models.tiny.source", "corpus.source"])
def test_a_missing_key_is_named(place):
    config = copy.deepcopy(MINIMAL)
    *parents, last = place.split(".")
    (at(config, ".".join(parents)) if parents else config).pop(last)
    assert message(config) == f"config key '{place}' is missing"


SERIES = {"source": "hub:o/n@step{step}", "steps": [5]}
TRAINED = {"source": "train:", "steps": [0, 20], "training": TRAINING}


def trained(**changes) -> dict:
    """A model that is trained here, keys of its training as `changes`."""
    return TRAINED | {"training": TRAINING | changes}


HUGE = 10**6
DAY = datetime.date(2024, 1, 1)
PYPI = "pypi:project==1.0/folder/file.gguf"
WRONG_VALUES = [
    # shapes
    ("models", None, "'models': null is not a mapping: write names under it"),
    ("models", [], "'models': [] is not a mapping"),
    ("models", ["a"], "'models': ['a'] is not a mapping"),
    ("models", "meta/llama", "'models': 'meta/llama' is not a mapping"),
    ("models", {}, "'models': {} is empty (it is: The language models to measure"),
    ("models.x", "path:x", "'models.x': 'path:x' is not a mapping: write keys under it"),
    ("models.x", None, "'models.x': null is not a mapping"),
    ("corpus", None, "'corpus.source' is missing"),
    ("corpus", "path:x", "'corpus': 'path:x' is not a mapping"),
    ("sequences", [4], "'sequences': [4] is not a mapping: write keys under it, one a line (it is: Which stretches"),
    ("length.lm_infinite", 4, "'length.lm_infinite': 4 is not a mapping"),
    ("experiments", "surgery", "'experiments': 'surgery' is not a list"),
    ("experiments", None, "'experiments': null is not a list"),
    ("tolerance.fractions", 0.1, "'tolerance.fractions': 0.1 is not a list"),
    # names
    ("models", {2024: {"source": "path:x"}}, "'models' holds the name 2024, which YAML reads as a number: put it in"),
    ("models", {3.5: {"source": "path:x"}}, "'models' holds the name 3.5, which YAML reads as a number"),
    ("models", {True: {"source": "path:x"}}, "'models' holds the name true, which YAML reads as true or false"),
    ("models", {None: {"source": "path:x"}}, "'models' holds the name null, which YAML reads as nothing"),
    ("models", {DAY: {"source": "path:x"}}, "'models' holds the name 2024-01-01, which YAML reads as a date"),
    ("models", {(1, 2): {"source": "path:x"}}, "'models' holds the name (1, 2), which YAML reads as a tuple"),
    ("models", {"a b": {"source": "path:x"}}, "'models' holds the name 'a b': a name begins with a letter or digit"),
    ("models", {"../x": {"source": "path:x"}}, "'models' holds the name '../x'"),
    ("models", {"": {"source": "path:x"}}, "'models' holds the name ''"),
    (
        "models",
        {"x-random": {"source": "path:x"}},
        "'models' holds the name 'x-random', but -random is the end of a control's name",
    ),
    (
        "models",
        {"x.step5": {"source": "path:x"}},
        "'models' holds the name 'x.step5', but .step5 is the end of a checkpoint's name",
    ),
    ("models", {"x.seed0": {"source": "path:x"}}, "'models' holds the name 'x.seed0', but .seed0 is the end of a"),
    ("sequences", {1: 4}, "'sequences.1' is unknown; the keys here are count"),
    ("tasks.harness", {"tasks": {1: "acc"}}, "'tasks.harness.tasks' holds the name 1, which YAML reads as a number"),
    ("tasks.harness", {"tasks": {}}, "'tasks.harness.tasks': {} is empty"),
    # sources
    ("models.tiny.source", "meta/llama", "'models.tiny.source' is wrong: source 'meta/llama' is not understood"),
    ("models.tiny.source", "hub:llama", "'models.tiny.source' is wrong: source 'hub:llama' is not understood"),
    ("models.tiny.source", 5, "'models.tiny.source': 5 is not text"),
    ("models.tiny.source", "pypi:a/b.gguf", "'models.tiny.source' is wrong: source 'pypi:a/b.gguf' is not understood"),
    ("models.tiny.source", "hub:a/b@main/c", "'models.tiny.source' is wrong: hub:a/b@main/c names files"),
    ("models.tiny.source", "pypi:a==1/b.bin", "'models.tiny.source' is wrong: model pypi:a==1/b.bin is not a .gguf"),
    ("models.tiny.source", PYPI, f"'models.tiny.sha256' is missing: {PYPI} needs the digest"),
    ("models.tiny.sha256", "ABC", "'models.tiny.sha256': 'ABC' is not written as it has to be (it is: The expected"),
    ("corpus.source", PYPI, f"'corpus.sha256' is missing: {PYPI} needs the digest"),
    ("corpus.source", "hub:a/b", "'corpus.source' is wrong: hub:a/b names no files: add their path"),
    ("corpus.source", "pypi:a==1/../b", "'corpus.source' is wrong: source 'pypi:a==1/../b' has a path"),
    ("tasks.longbench", {}, "'tasks.longbench.source' is missing"),
    (
        "tasks.longbench",
        {"source": "path:a.txt"},
        "'tasks.longbench.source' is 'path:a.txt', which is neither a ",
    ),
    ("tasks.longbench", {"source": "path:a.zip", "prompt": "{context}?"}, "'tasks.longbench.prompt' has no {input}"),
    ("tasks.longbench", {"source": "path:a.zip", "prompt": "{input}?"}, "'tasks.longbench.prompt' has no {context}"),
    ("lock", "none.json", "'lock' is 'none.json', but there is no such file"),
    ("lock", 4, "'lock': 4 is not text"),
    # single values
    ("models.tiny.random_control", "maybe", "'models.tiny.random_control': 'maybe' is neither true nor false"),
    ("models.tiny.random_control", 1, "'models.tiny.random_control': 1 is neither true nor false"),
    ("models.tiny.random_seed", -1, "'models.tiny.random_seed': -1 is less than the minimum of 0 (it is: The seed"),
    ("models.tiny.capture", "queries", "'models.tiny.capture': 'queries' is not one of 'features' or 'logits'"),
    ("corpus.format", "docx", "'corpus.format': 'docx' is not one of 'auto', 'txt'"),
    ("corpus.text", None, "'corpus.text': null is not text"),
    ("corpus.title", 2024, "'corpus.title': 2024 is not text"),
    ("sequences.count", "four", "'sequences.count': 'four' is not a whole number (it is: How many sequences)"),
    ("sequences.count", None, "'sequences.count': null is not a whole number"),
    ("sequences.count", 0, "'sequences.count': 0 is less than the minimum of 1"),
    ("sequences.count", 2.5, "'sequences.count': 2.5 is not a whole number"),
    ("sequences.count", True, "'sequences.count': true is not a whole number"),
    ("sequences.count", [4], "'sequences.count': [4] is not a whole number"),
    ("sequences.length", 8, "'sequences.length': 8 is less than the minimum of 16"),
    ("features.layers", "first", "'features.layers' is 'first', but is either all or a list of numbers"),
    ("features.layers", 3, "'features.layers' is 3, but is either all or a list"),
    ("features.layers", [], "'features.layers': [] is empty"),
    ("features.layers", [0, -1], "'features.layers.1': -1 is less than the minimum of 0"),
    ("features.layers", [1, 1], "'features.layers' holds 1 twice"),
    ("features.tolerance", 0, "'features.tolerance': 0 is not greater than 0"),
    ("features.tolerance", float("nan"), "'features.tolerance': nan is not a finite number"),
    ("features.tolerance", "small", "'features.tolerance': 'small' is not a number"),
    ("logits.keep", None, "'logits.keep': null is not one of 'all', 'sample' or 'none'"),
    ("run.device", "gpu", "'run.device': 'gpu' is not written as it has to be (it is: auto, cpu, cuda"),
    ("run.dtype", "float64", "'run.dtype': 'float64' is not one of 'float32'"),
    ("run.batch_tokens", 0, "'run.batch_tokens': 0 is less than the minimum of 1"),
    ("fits.bootstrap_samples", 10, "'fits.bootstrap_samples': 10 is less than the minimum of 100"),
    ("experiments", ["learning"], "'experiments.0': 'learning' is not one of 'mechanism'"),
    ("experiments", ["training"], "'experiments' names training, but no model is a series: give one of them steps"),
    ("experiments", ["length", "length"], "'experiments' holds 'length' twice"),
    ("tolerance.perturbations", ["texts"], "'tolerance.perturbations.0': 'texts' is not one of"),
    ("tolerance.fractions", [0.1, 1.5], "'tolerance.fractions.1': 1.5 is greater than the maximum of 1"),
    ("tolerance.fractions", [0.1, 0.1], "'tolerance.fractions' holds 0.1 twice"),
    ("tolerance.fractions", [0], "'tolerance.fractions' holds no fraction above 0"),
    ("tasks.candidates", HUGE, "'tasks.candidates': 1000000 is greater than the maximum of 90000"),
    ("tasks.passkey", {"length": 20}, "'tasks.passkey.length': 20 is less than the minimum of 64"),
    ("tasks.passkey", {"depths": [1.5]}, "'tasks.passkey.depths.0': 1.5 is greater than the maximum of 1"),
    ("tasks.cloze", {"context": 4}, "'tasks.cloze.context': 4 is less than the minimum of 8"),
    ("length.methods", ["yarn"], "'length.methods' lacks plain"),
    ("length.models", [], "'length.models': [] is empty"),
    ("length.models", ["big"], "'length.models' names 'big', which is none of the measured models with queries and"),
    ("length.passkey.lengths", [32], "'length.passkey.lengths.0': 32 is less than the minimum of 64"),
    ("length.factor", 0.5, "'length.factor': 0.5 is less than the minimum of 1"),
    # series, and models that are trained here
    ("models.x", SERIES | {"steps": [1, 1]}, "'models.x.steps' holds 1 twice"),
    ("models.x", SERIES | {"steps": [0, -1]}, "'models.x.steps.1': -1 is less than the minimum of 0"),
    ("models.x", SERIES | {"steps": []}, "'models.x.steps': [] is empty"),
    ("models.x", SERIES | {"steps": 5}, "'models.x.steps': 5 is not a list"),
    ("models.x", SERIES | {"steps": None}, "'models.x.source' has {step}, but no steps are given: list them"),
    ("models.x", SERIES | {"source": "hub:o/n@step"}, "'models.x.source' lacks {step}, so that all steps would be one"),
    ("models.x", SERIES | {"source": "hub:o/n@{step}/a"}, "'models.x.source' is wrong: hub:o/n@5/a names files"),
    ("models.x", SERIES | {"source": "pypi:a==1/{step}.gguf"}, "'models.x.source' of a series is one hub: or path:"),
    ("models.x", SERIES | {"source": ["path:a{step}"]}, "'models.x.source' of a series is one hub: or path: source"),
    ("models.x", SERIES | {"sha256": "a" * 64}, "'models.x.sha256' is of one file, but a series has other files at"),
    ("models.x", SERIES | {"seeds": [0]}, "'models.x.seeds' is given, but only a model of source 'train:' is trained"),
    ("models.x", SERIES | {"training": TRAINING}, "'models.x.training' is given, but only a model of source 'train:'"),
    ("models.x", TRAINED | {"training": None}, "'models.x.training' is missing: source 'train:' needs the arch"),
    ("models.x", TRAINED | {"steps": None}, "'models.x.steps' is missing: source 'train:' needs the steps to measure"),
    ("models.x", TRAINED | {"steps": [0, 21]}, "'models.x.steps' holds 21, beyond the last step, training.steps 20"),
    ("models.x", TRAINED | {"seeds": [1, 1]}, "'models.x.seeds' holds 1 twice"),
    ("models.x", TRAINED | {"source": "train:small"}, "'models.x.training' is given, but only a model of source"),
    ("models.x", TRAINED | {"training": {}}, "'models.x.training.architecture' is missing"),
    ("models.x", trained(architecture={}), "'models.x.training.architecture': {} is empty"),
    ("models.x", trained(architecture={"hidden_size": 8}), "'models.x.training.architecture' has no model_type"),
    (
        "models.x",
        trained(architecture={"model_type": "llama", "max_position_embeddings": 64}),
        "'models.x.training.length' is 128, longer than the context, architecture.max_position_embeddings 64",
    ),
    ("models.x", trained(warmup=21), "'models.x.training.warmup' is 21, more than training.steps 20"),
    ("models.x", trained(vocabulary=200), "'models.x.training.vocabulary': 200 is less than the minimum of 257"),
    # keys that cannot stand together
    ("fits.prefixes", [64, 300], "'fits.prefixes' holds 300, more than sequences.length 256: take it out, or raise"),
    ("dummies.distances", 257, "'dummies.distances' is 257, more than sequences.length 256: lower it, or raise"),
    ("mechanism", {"keys": 64}, "'mechanism' is unknown: additivity is exact now and has no grid of queries and keys"),
    ("heads.queries", 0, "'heads.queries': 0 is less than the minimum of 1"),
    ("heads.prompts", 0, "'heads.prompts': 0 is less than the minimum of 1"),
    # What comes again after one token is the token before.
    ("heads.period", 1, "'heads.period': 1 is less than the minimum of 2"),
    ("heads", {"qeries": 3}, "'heads.qeries' is unknown; did you mean 'queries'?"),
    ("explorer.heads", "all", "'explorer.heads': 'all' is not a whole number"),
    ("explorer.tokens", 1, "'explorer.tokens': 1 is less than the minimum of 16"),
    ("explorer.tokens", 300, "'explorer.tokens' is 300, more than sequences.length 256: lower it, or raise"),
    ("explorer.pixels", 8, "'explorer.pixels': 8 is less than the minimum of 16"),
    ("also", "surgry", "'also.0': 'surgry' is not one of"),
    ("also", ["surgery", "surgery"], "'also' holds 'surgery' twice"),
    ("length.models", "tiny", "'length.models': 'tiny' is not a list: put it in brackets"),
    ("length.models", ["tinny"], "'length.models' names 'tinny', which is none of the measured models"),
    ("surgery.bands", [1, 1], "'surgery.bands' holds 1.0 twice"),
    ("related", {"queries": 8}, "'related' is unknown: slash scores are measures of heads now, on heads.queries"),
    ("tolerance.sequences", 9, "'tolerance.sequences' is 9, more than sequences.count 8: lower it, or raise"),
    ("surgery.sequences", 9, "'surgery.sequences' is 9, more than sequences.count 8"),
    ("surgery.step_sequences", 9, "'surgery.step_sequences' is 9, more than surgery.sequences 8"),
    ("surgery.bands", [0.1, 0], "'surgery.bands.1': 0 is not greater than 0"),
    ("surgery.stepwise", ["attended+first"], "'surgery.stepwise.0': 'attended+first' is not one of"),
    ("tolerance.head_sequences", 4, "'tolerance.head_sequences' is 4, and leaves none of the 4 sequences of the first"),
    (
        "surgery",
        {"stepwise": [], "heads_of_layers": 2},
        "'surgery.heads_of_layers' is 2, but surgery.stepwise",
    ),
    ("length", {"training_length": 128}, "'length.lengths' holds none within length.training_length 128"),
    (
        "length",
        {"training_length": 2048, "lm_infinite": {"n_local": 4096}},
        "'length.lm_infinite.n_local' is 4096, longer than length.training_length 2048",
    ),
    (
        "length",
        {"training_length": 2048, "lm_infinite": {"limit": 4096}},
        "'length.lm_infinite.limit' is 4096, longer than length.training_length 2048",
    ),
    (
        "length",
        {"training_length": 2048, "inf_llm": {"n_local": 4096}},
        "'length.inf_llm.n_local' is 4096, longer than length.training_length 2048",
    ),
    ("length.lm_infinite", {"n_global": 0, "n_local": 0}, "'length.lm_infinite.n_local' is 0, as n_global is"),
    ("length.inf_llm", {"n_local": 0}, "'length.inf_llm.n_local': 0 is less than the minimum of 1"),
    ("length.inf_llm", {"block": 2}, "'length.inf_llm.repr_topk' is 4, more than the 2 tokens of a block"),
]


@pytest.mark.parametrize(("place", "value", "says"), WRONG_VALUES, ids=lambda value: str(value)[:40])
def test_a_wrong_value_is_named_with_its_key(place, value, says):
    assert f"config key {says}" in message(changed(place, value))


def test_the_table_of_wrong_values_has_every_kind_of_fault():
    """A kind of fault that pydantic words itself would be told in its words, not in ours."""
    seen = " ".join(says for _, _, says in WRONG_VALUES)
    assert all(words.split("{")[0].split(":")[0].strip() in seen for words in WRONG.values())


def test_surgery_reads_the_first_shard_alone():
    config = MINIMAL | {"sequences": {"count": 20, "shard": 2}}
    assert resolve(config)["surgery"]["sequences"] == 2
    said = message(config | {"surgery": {"sequences": 4}})
    assert said == (
        "config key 'surgery.sequences' is 4, more than sequences.shard 2: lower it, or raise sequences.shard"
    )


@pytest.mark.parametrize("name", ["surgery", "tolerance", "tasks", "length"])
def test_an_experiment_of_queries_and_keys_needs_a_model_that_has_them(name):
    logits = {"source": "path:model", "capture": "logits"}
    config = MINIMAL | {"models": {"gpt2": logits}, "experiments": ["mechanism", name]}
    said = message(config)
    assert f"config key 'experiments' names {name}" in said and "capture: logits" in said
    resolve(config | {"experiments": ["mechanism"]})
    added = config | {"experiments": ["mechanism"], "also": name}
    assert message(added).startswith(f"config key 'also' names {name}, made of queries and keys")
    resolve(config | {"models": {"gpt2": logits} | MINIMAL["models"]})


def test_tasks_without_a_task_are_refused():
    empty = MINIMAL | {"tasks": {"cloze": None, "passkey": None}}
    resolve(empty)
    assert message(empty | {"experiments": ["tasks"]}).startswith(
        "config key 'experiments' names tasks, but tasks.cloze"
    )


def test_a_long_value_is_cut():
    assert len(message(changed("sequences.count", "x" * 5000))) < 200


def test_a_message_is_one_line_whatever_the_value_holds():
    assert "'models.tiny.source'" in message(changed("models.tiny.source", "hub:a\nb"))


def test_a_lock_that_is_there_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pins.json").write_text("{}")
    assert resolve(MINIMAL | {"lock": "pins.json"})["lock"] == "pins.json"


# Text from the command line


@pytest.mark.parametrize(
    ("place", "text", "value"),
    [
        ("sequences.count", "4", 4),
        ("sequences.count", 4.0, 4),
        ("features.tolerance", "1e-4", 1e-4),
        ("features.tolerance", "0.01", 0.01),
        ("features.tolerance", "1", 1.0),
        ("features.layers", "all", "all"),
        ("features.layers", "[0, 1]", [0, 1]),
        ("features.layers", ["0", "1"], [0, 1]),
        ("tolerance.fractions", ["0", "0.5"], [0, 0.5]),
        ("tolerance.perturbations", "[text, feature]", ["text", "feature"]),
        ("surgery.stepwise", ["f", "g"], ["f", "g"]),
        ("experiments", ["mechanism", "surgery"], ["mechanism", "surgery"]),
        ("models.tiny.random_control", "false", False),
        ("models.tiny.sha256", "null", None),
        ("models.tiny.steps", "null", None),
        ("length.training_length", "null", None),
        ("length.models", "null", None),
        ("length.models", ["tiny", "tiny-random"], ["tiny", "tiny-random"]),
        ("length.factor", "2", 2.0),
        ("tasks.cloze", "null", None),
        ("corpus.title", "null", None),
        ("corpus.text", "null", "null"),
        ("corpus.text", "2024", "2024"),
        ("lock", "null", None),
        ("logits.keep", "none", "none"),
    ],
)
def test_text_becomes_what_its_key_holds(place, text, value):
    found = at(resolve(changed(place, text)), place)
    assert found == value and type(found) is type(value)


def test_no_word_of_the_configuration_is_something_else_to_yaml():
    def words(node):
        for sub in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
            yield from words(sub)
        if isinstance(node, dict) and isinstance(node.get("enum"), list):
            yield from node["enum"]

    found = list(words(load(SCHEMA)))
    assert {"none", "f", "plain", "auto"} <= set(found)
    assert all(yaml.safe_load(word) == word for word in found)


def test_a_mapping_of_another_kind_is_a_mapping():
    """JSON configurations come as OrderedDict."""
    given = OrderedDict(MINIMAL | {"sequences": OrderedDict(count=3)})
    assert resolve(given)["sequences"]["count"] == 3


# Defaults


def test_a_minimal_configuration_gets_every_default():
    filled = resolve(MINIMAL)
    assert list(filled) == [key for key in Config.model_fields if key != "also"]
    for section in ("run", "sequences", "features", "logits", "fits"):
        own = SECTIONS[(section,)]["properties"]
        assert filled[section] == {name: sub["default"] for name, sub in own.items()}
    assert filled["models"]["tiny"] == {
        "source": "path:model",
        "steps": None,
        "training": None,
        "seeds": None,
        "sha256": None,
        "random_control": True,
        "random_seed": 0,
        "capture": "features",
    }
    assert (
        filled["corpus"]["format"] == "auto"
        and filled["lock"] is None
        and filled["experiments"] == ["mechanism", "heads"]
    )


def test_a_null_section_has_its_defaults_and_a_null_task_is_left_out():
    filled = resolve(MINIMAL | {"sequences": None, "length": {"lm_infinite": None}, "tasks": {"cloze": None}})
    assert filled["sequences"] == resolve(MINIMAL)["sequences"]
    assert filled["length"] == resolve(MINIMAL)["length"]
    assert filled["tasks"]["cloze"] is None and filled["tasks"]["passkey"] is not None


def test_what_is_given_is_kept_and_the_rest_filled():
    given = MINIMAL | {"sequences": {"count": 3}}
    before = copy.deepcopy(given)
    filled = resolve(given)
    assert filled["sequences"]["count"] == 3 and filled["sequences"]["length"] == 256
    assert given == before
    assert resolve(filled) == filled


def test_a_series_has_no_control_unless_one_is_asked_for():
    for given, filled in ((None, False), (True, True), (False, False)):
        entry = SERIES | {"random_control": given}
        assert resolve(MINIMAL | {"models": {"x": entry}})["models"]["x"]["random_control"] is filled
    assert resolve(MINIMAL)["models"]["tiny"]["random_control"] is True


def test_an_architecture_is_read_as_yaml_wherever_it_comes_from():
    """Snakemake's command line hands values on as text."""
    sizes = {"model_type": "llama", "hidden_size": "64", "rope_parameters": {"rope_theta": "1e4"}, "layer_types": ["a"]}
    given = MINIMAL | {"models": {"x": trained(architecture=sizes)}}
    assert resolve(given)["models"]["x"]["training"]["architecture"] == {
        "model_type": "llama",
        "hidden_size": 64,
        "rope_parameters": {"rope_theta": 1e4},
        "layer_types": ["a"],
    }


def test_a_training_follows_its_steps_and_its_context_is_what_the_model_is_told():
    filled = resolve(MINIMAL | {"models": {"x": trained(steps=200)}})["models"]["x"]["training"]
    assert filled["warmup"] == 10 and filled["length"] == 128 and filled["vocabulary"] is None


def test_one_configuration_does_not_change_the_defaults_of_the_next():
    resolve(MINIMAL | {"sequences": {"count": 1, "length": 16}})
    filled = resolve(MINIMAL)
    assert filled["dummies"]["distances"] == 128 and filled["tolerance"]["sequences"] == 4
    assert filled["heads"]["period"] == 64


@pytest.mark.parametrize("base", [MINIMAL, load(CONFIGS[0])], ids=["minimal", "config.yaml"])
def test_a_small_run_needs_no_other_key_changed(base):
    """The defaults that a part has follow its whole, also where they are those of config.yaml."""
    filled = resolve(base | {"sequences": {"count": 1, "length": 64}, "surgery": {"stepwise": []}})
    assert filled["dummies"] == {"distances": 64} and filled["heads"]["period"] == 32
    assert filled["tolerance"]["sequences"] == filled["surgery"]["sequences"] == 1
    assert filled["tolerance"]["head_sequences"] == 0
    assert filled["surgery"]["step_sequences"] == 1 and filled["surgery"]["heads_of_layers"] == 0


def test_config_yaml_states_every_key_and_no_default_but_the_models():
    stated, filled = load(CONFIGS[0]), resolve(MINIMAL)
    assert list(stated) == list(filled)
    for section in stated.keys() - {"models", "corpus"}:
        if not isinstance(filled[section], dict):
            assert stated[section] == filled[section]
            continue
        for key in FOLLOWING & {(section, key) for key in stated[section]}:
            assert stated[section].pop(key[1]) is None
            filled[section].pop(key[1])
        assert stated[section] == filled[section], section


def test_config_yaml_states_every_key_of_its_models_and_corpus():
    stated = load(CONFIGS[0])
    filled = resolve(stated)
    assert stated["models"] == filled["models"] and stated["corpus"] == filled["corpus"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_each_ready_configuration_is_valid_and_tells_the_editor_its_schema(path):
    resolve(load(path))
    Draft202012Validator(load(SCHEMA)).validate(load(path))
    first = path.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.split("=", 1)[1]).resolve() == SCHEMA


# What is written from the models


def test_the_schema_and_the_page_are_what_the_models_say():
    remedy = "run python scripts/write_configuration.py"
    assert SCHEMA.read_text() == write_configuration.schema_text(), remedy
    assert PAGE.read_text() == write_configuration.page_text(), remedy


def test_the_schema_is_a_schema_and_refuses_what_the_models_refuse():
    Draft202012Validator.check_schema(load(SCHEMA))
    validator = Draft202012Validator(load(SCHEMA))
    assert validator.is_valid(MINIMAL)
    for place, value in [
        ("sequences.cuont", 4),
        ("sequences.count", 0),
        ("models", {}),
        ("models", {"x-random": {"source": "path:x"}}),
        ("models", {"x.step5": {"source": "path:x"}}),
        ("models.tiny.source", "meta/llama"),
        ("models.tiny.source", "train:small"),
        ("models.tiny.steps", []),
        ("features.layers", "first"),
        ("features.layers", []),
        ("tolerance.fractions", [0.1, 0.1]),
        ("length.methods", ["yarn"]),
        ("tasks.harness", {"tasks": {}}),
    ]:
        assert not validator.is_valid(changed(place, value)), (place, value)


def test_every_key_is_described_and_the_page_has_it():
    page = PAGE.read_text()
    for place, key in KEYS:
        node = SECTIONS[place]["properties"][key]
        inner = next((option for option in node.get("anyOf", [node]) if "properties" in option), {})
        assert len(node.get("description") or inner.get("description", "")) > 10, (*place, key)
        table = page.partition(f"## {'.'.join(place).replace('*', 'NAME') or 'At the top'}\n")[2].partition("\n## ")[0]
        assert (f"| `{key}` |" in table) or not place, (*place, key)


def test_only_the_names_of_models_and_of_foreign_tasks_are_free():
    def free(node, at=()):
        for option in node.get("anyOf", [node]):
            if option.get("type") == "object" and option.get("additionalProperties") is not False:
                yield at
            for name, sub in option.get("properties", {}).items():
                yield from free(sub, (*at, name))

    names = [("models",), ("tasks", "harness", "tasks")]
    assert list(free(load(SCHEMA))) == names

    # An architecture has the keys that transformers gives it: they are checked there, when it is trained.
    architecture = SECTIONS[("models", "*", "training")]["properties"]["architecture"]
    assert architecture["type"] == "object" and architecture["additionalProperties"] is True


def test_lines_of_the_page_are_short_but_for_its_tables():
    assert all(len(line) <= 100 for line in PAGE.read_text().splitlines() if not line.startswith("|"))


def test_each_method_that_may_be_chosen_is_one():
    options = resolve(MINIMAL)["length"]
    assert [make_method(name, options, 2048, 9216).name for name in LENGTH_METHODS] == list(LENGTH_METHODS)


def test_the_parts_of_a_model_file_are_a_list_with_a_digest_each():
    parts = [f"pypi:wheel-{n}==1.0/m-0000{n}-of-00002.gguf" for n in (1, 2)]
    entry = {"source": parts, "sha256": ["a" * 64, "b" * 64]}
    assert resolve(MINIMAL | {"models": {"big": entry}})["models"]["big"]["source"] == parts
    for wrong in ("a" * 64, ["a" * 64], None):
        with pytest.raises(UserError, match=r"models\.big\.(sha256|source)"):
            resolve(MINIMAL | {"models": {"big": entry | {"sha256": wrong}}})


def test_a_prefix_that_is_the_whole_sequence_is_fitted_once():
    assert resolve(changed("fits.prefixes", [64, 256, 16]))["fits"]["prefixes"] == [64, 16]
