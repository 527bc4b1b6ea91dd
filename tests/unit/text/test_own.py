"""A run of what a command gives: the configuration that it means, and faults told of what the user gave."""

from pathlib import Path

import pytest
import yaml

from triaxis.base.config import resolve
from triaxis.base.errors import UserError
from triaxis.text.own import own_run

DEFAULT = yaml.safe_load((Path(__file__).resolve().parents[3] / "config.yaml").read_text())


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of texts and of a model that is no model yet: its weights are not read."""
    (tmp_path / "texts [v1]").mkdir()
    (tmp_path / "texts [v1]/one.txt").write_text("one two")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.json").write_text("{}")
    (tmp_path / "mine/model.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_paths_are_those_of_the_folder_where_the_command_was_given(here):
    given = {"MODEL": "path:mine", "TEXT": "path:texts [v1]/*.txt", "COUNT": "4", "LENGTH": "32"}
    assert own_run(given, DEFAULT) == (
        "mine",
        {
            "models": {"mine": {"source": f"path:{here}/mine"}},
            "corpus": {"source": f"path:{here}/texts [v1]/*.txt"},
            "sequences": {"count": 4, "length": 32},
        },
    )


def test_what_is_not_given_is_the_defaults():
    name, config = own_run({"TEXT": "path:texts [v1]"}, DEFAULT)
    assert name in DEFAULT["models"] and config["models"] == DEFAULT["models"]
    name, config = own_run({"MODEL": "path:mine"}, DEFAULT)
    assert name == "mine" and config["corpus"] == DEFAULT["corpus"] and config["sequences"] == {}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("hub:EleutherAI/pythia-160m@step1000", "pythia-160m-step1000"),
        ("hub:owner/name@main", "name"),
        (f"hub:owner/name@{'ab12' * 10}", "name-ab12ab12ab12"),
        ("hub:owner/name.step8", "name_step8"),
        ("hub:owner/so-random", "so_random"),
    ],
)
def test_a_run_has_a_name_that_a_model_may_have(model, name):
    assert own_run({"MODEL": model}, DEFAULT)[0] == name
    resolve({"models": {name: {"source": model}}, "corpus": DEFAULT["corpus"]})


def test_a_digest_is_given_as_pip_writes_it():
    text = "pypi:some==1/folder/some.Q4_1.gguf"
    assert own_run({"MODEL": f"{text}#sha256={'0' * 64}"}, DEFAULT) == (
        "some.Q4_1",
        {
            "models": {"some.Q4_1": {"source": text, "sha256": "0" * 64}},
            "corpus": DEFAULT["corpus"],
            "sequences": {},
        },
    )


@pytest.mark.parametrize(
    ("given", "named", "remedy"),
    [
        ({"MODEL": "mine"}, "MODEL is wrong: source 'mine'", "hub:owner/name@revision"),
        ({"MODEL": ""}, "MODEL is wrong: source ''", "path:some/folder"),
        ({"MODEL": "path:nothere"}, "MODEL: model path:nothere does not exist", "name a folder"),
        ({"MODEL": "path:texts [v1]"}, "MODEL: ", "safetensors"),
        ({"MODEL": "pypi:a==1/b.gguf"}, "MODEL=pypi:a==1/b.gguf needs the digest", "#sha256=DIGEST"),
        ({"TEXT": "path:nothere/*.txt"}, "TEXT: corpus path:nothere/*.txt matches no file", "correct the path"),
        ({"TEXT": "hub:owner/name"}, "TEXT is wrong: hub:owner/name names no files", "add their path"),
        ({"TEXT": "pypi:a==1/b.csv"}, "TEXT=pypi:a==1/b.csv needs the digest", "#sha256=DIGEST"),
        ({"COUNT": "few"}, "COUNT: 'few' is not a whole number", "How many sequences"),
        ({"LENGTH": "8"}, "LENGTH: 8 is less than the minimum of 16", "Tokens in each"),
    ],
)
def test_a_fault_names_what_the_user_gave(given, named, remedy):
    with pytest.raises(UserError) as fault:
        own_run(given, DEFAULT)
    message = str(fault.value)
    assert message.startswith(named) and remedy in message and "config key" not in message


def test_what_was_not_given_keeps_its_name():
    with pytest.raises(UserError, match=r"config key 'corpus\.source' is wrong"):
        own_run({"COUNT": "4"}, DEFAULT | {"corpus": {"source": "nowhere"}})
