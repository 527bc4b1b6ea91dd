"""A source as it is written: three forms, and what a model or a file can be."""

import pytest

from triaxis.base.errors import UserError
from triaxis.base.source_text import Source, parse_source, require_files, require_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def message(function, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hub:o/n.a-1", ("hub", "o/n.a-1", "main", "")),
        ("hub:o/n@v1.0", ("hub", "o/n", "v1.0", "")),
        (f"hub:o/n@{COMMIT}/data/*.parquet", ("hub", "o/n", COMMIT, "data/*.parquet")),
        ("hub:o/n/a b.json", ("hub", "o/n", "main", "a b.json")),
        ("path:some/it's.txt", ("path", "", "", "some/it's.txt")),
        ("pypi:some-project==1.0.post1/pkg/data.json", ("pypi", "some-project", "1.0.post1", "pkg/data.json")),
    ],
)
def test_the_three_forms(text, expected):
    assert parse_source(text) == Source(text, *expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "path:",
        "some/folder",
        "https://example.org/a",
        "hub:name",
        "hub:o/n@",
        "hub:o/n@a@b",
        "hub:../n",
        "pypi:project/data.json",
        "pypi:project==1.*/data.json",
        "pypi:project>=1/data.json",
        "pypi:project==1",
        "pypi:project==1/folder/",
        "pypi:--index-url==1/data.json",
        "pypi:project==1/../data.json",
        "pypi:project==1/a/../../data.json",
        "pypi:project==1/a\\..\\data.json",
        "pypi:project==1//etc/data.json",
        "hub:o/n@main/../data.json",
    ],
)
def test_any_other_text_is_quoted_and_the_forms_are_shown(text):
    fault = message(parse_source, text)
    assert repr(text) in fault
    assert all(form in fault for form in ("hub:owner/name@revision", "path:some/folder", "pypi:project==version"))


def test_an_unpinned_version_is_called_so():
    assert "exact version" in message(parse_source, "pypi:project/data.json")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [("hub:o/n@main/model.safetensors", "drop 'model.safetensors'"), ("pypi:p==1.0/weights.bin", "a .gguf file")],
)
def test_a_model_is_a_whole_repository_or_one_gguf_file(text, remedy):
    assert remedy in message(require_model, parse_source(text))


def test_a_dataset_on_the_hub_names_its_files():
    assert "hub:o/n names no files" in message(require_files, parse_source("hub:o/n"))


@pytest.mark.parametrize("text", ["hub:o/n@main", "path:some/folder", "path:m.gguf", "pypi:p==1.0/m.gguf"])
def test_what_can_be_a_model_is_let_through(text):
    require_model(parse_source(text))


@pytest.mark.parametrize("text", ["hub:o/n@main/*.json", "path:some/folder", "pypi:p==1.0/data.json"])
def test_what_can_be_files_is_let_through(text):
    require_files(parse_source(text))
