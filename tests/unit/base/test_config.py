"""The configuration: every fault named in one line, every default in one place."""

import copy
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from triaxis.base.config import SCHEMA, resolve
from triaxis.base.errors import UserError

PROJECT = SCHEMA.parents[1]
CONFIGS = [PROJECT / "config.yaml", *sorted((PROJECT / "config").glob("*.yaml"))]
MINIMAL = {"models": {"tiny": {"source": "path:model"}}, "corpus": {"source": "path:corpus.txt"}}


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def objects(schema: dict, at: tuple[str, ...] = ()):
    """Every object of the schema with its place; `*` stands for any name."""
    if schema.get("type") == "object":
        yield at, schema
    for name, sub in schema.get("properties", {}).items():
        yield from objects(sub, (*at, name))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from objects(schema["additionalProperties"], (*at, "*"))


def changed(place: tuple, value) -> dict:
    """The default configuration with `value` at `place`."""
    config = copy.deepcopy(load(CONFIGS[0]))
    at = config
    for name in place[:-1]:
        at = at[name]
    at[place[-1]] = value
    return config


def message(config: dict) -> str:
    with pytest.raises(UserError) as caught:
        resolve(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


OBJECTS = dict(objects(load(SCHEMA)))
KEYS = [(place, key) for place, schema in OBJECTS.items() for key in schema.get("properties", {})]


# Unknown keys


@pytest.mark.parametrize(("place", "key"), KEYS, ids=lambda value: ".".join(value) if value else "top")
def test_a_misspelt_key_is_named_with_the_nearest_one(place, key):
    """The last letter doubled, at each depth; whatever else is then missing is not what the user is told."""
    place = tuple("smollm2-135m" if name == "*" else name for name in place)
    wrong = changed((*place, key + key[-1]), None)
    at = wrong
    for name in place:
        at = at[name]
    at.pop(key)
    said = message(wrong)
    assert f"config key '{'.'.join((*place, key + key[-1]))}' is unknown; did you mean '{key}'?" == said


def test_an_unknown_key_is_told_before_any_other_fault():
    config = {"corpus": MINIMAL["corpus"], "sequences": {"lenght": 3}, "features": None}
    assert message(config) == "config key 'sequences.lenght' is unknown; did you mean 'length'?"


def test_of_other_faults_the_one_nearest_the_top_is_told():
    config = MINIMAL | {"features": None, "sequences": {"count": "8"}}
    assert message(config).startswith("config key 'features': None is not of type 'object'")


def test_an_unknown_key_near_to_none_still_gets_a_suggestion():
    assert "config key 'zzz' is unknown; did you mean '" in message(MINIMAL | {"zzz": 1})


# Missing and wrong


@pytest.mark.parametrize(
    "place", [("models",), ("corpus",), ("models", "smollm2-135m", "source"), ("corpus", "source")]
)
def test_a_missing_key_is_named(place):
    config = copy.deepcopy(load(CONFIGS[0]))
    at = config
    for name in place[:-1]:
        at = at[name]
    at.pop(place[-1])
    assert message(config) == f"config key '{'.'.join(place)}' is missing"


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("models", {}, "config key 'models'"),
        ("models", ["a"], "config key 'models'"),
        ("models", {"a b": {"source": "path:x"}}, "a b"),
        ("models", {"x-random": {"source": "path:x"}}, "x-random"),
        ("models", {"x": "path:x"}, "config key 'models.x'"),
        ("models.smollm2-135m.source", "meta/llama", "config key 'models.smollm2-135m.source'"),
        ("models.smollm2-135m.sha256", "ABC", "config key 'models.smollm2-135m.sha256'"),
        ("models.smollm2-135m.random_control", "yes", "config key 'models.smollm2-135m.random_control'"),
        ("corpus.format", "docx", "config key 'corpus.format'"),
        ("corpus.text", None, "config key 'corpus.text'"),
        ("sequences", None, "config key 'sequences'"),
        ("sequences.count", "8", "config key 'sequences.count'"),
        ("sequences.count", 0, "config key 'sequences.count'"),
        ("sequences.count", 2.5, "config key 'sequences.count'"),
        ("sequences.count", True, "config key 'sequences.count'"),
        ("sequences.length", 8, "config key 'sequences.length'"),
        ("features.layers", "first", "config key 'features.layers'"),
        ("features.layers", [], "config key 'features.layers'"),
        ("features.layers", [0, -1], "config key 'features.layers"),
        ("features.layers", [1, 1], "config key 'features.layers'"),
        ("logits.heads", 3, "config key 'logits.heads'"),
        ("run.device", "gpu", "config key 'run.device'"),
        ("run.dtype", "float64", "config key 'run.dtype'"),
        ("features.tolerance", 0, "config key 'features.tolerance'"),
        ("fits.bootstrap_samples", 10, "config key 'fits.bootstrap_samples'"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(place, value, says):
    said = message(changed(tuple(place.split(".")), value))
    assert says in said


def test_a_wrong_value_is_told_what_is_expected():
    said = message(changed(("sequences", "count"), "8"))
    assert said == "config key 'sequences.count': '8' is not of type 'integer' (it is: How many sequences)"


# Defaults


def test_a_minimal_configuration_gets_every_default():
    filled = resolve(MINIMAL)
    schema = load(SCHEMA)
    assert set(filled) == set(schema["properties"])
    for section in ("sequences", "features", "logits", "fits"):
        own = schema["properties"][section]["properties"]
        assert filled[section] == {name: sub["default"] for name, sub in own.items()}
    assert filled["models"]["tiny"] == {
        "source": "path:model",
        "sha256": None,
        "random_control": True,
        "random_seed": 0,
        "capture": "features",
    }
    assert filled["corpus"]["format"] == "auto" and filled["lock"] is None


def test_what_is_given_is_kept_and_the_rest_filled():
    given = MINIMAL | {"sequences": {"count": 3}}
    before = copy.deepcopy(given)
    filled = resolve(given)
    assert filled["sequences"]["count"] == 3 and filled["sequences"]["length"] == 256
    assert given == before
    assert resolve(filled) == filled


@pytest.mark.parametrize("section", ["sequences", "features", "logits", "fits", "lock"])
def test_config_yaml_shows_the_schemas_defaults(section):
    assert load(CONFIGS[0])[section] == resolve(MINIMAL)[section]


def test_config_yaml_shows_every_key():
    config = load(CONFIGS[0])
    assert resolve(config) == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_each_ready_configuration_is_valid_and_tells_the_editor_its_schema(path):
    resolve(load(path))
    first = path.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.split("=", 1)[1]).resolve() == SCHEMA


# The schema itself


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(load(SCHEMA))


def test_every_key_is_described():
    schema = load(SCHEMA)
    assert len(schema["description"]) > 10
    undescribed = [
        (*place, key)
        for place, sub in OBJECTS.items()
        for key, value in sub.get("properties", {}).items()
        if len(value.get("description", "")) < 10
    ]
    assert not undescribed


def test_only_the_names_of_models_and_of_foreign_tasks_are_free():
    free = [place for place, schema in OBJECTS.items() if schema.get("additionalProperties") is not False]
    assert free == [("models",), ("tasks", "harness", "tasks")]


def test_every_optional_key_has_a_default_that_is_valid():
    for place, schema in OBJECTS.items():
        for key, sub in schema.get("properties", {}).items():
            if key not in schema.get("required", []):
                assert "default" in sub, (*place, key)
                assert not list(Draft202012Validator(sub).iter_errors(sub["default"])), (*place, key)


def test_a_number_that_yaml_reads_as_text_is_explained():
    says = message(MINIMAL | {"features": {"tolerance": "1e-4"}})
    assert "'features.tolerance': YAML reads 1e-4 as text; write it with a point" in says
