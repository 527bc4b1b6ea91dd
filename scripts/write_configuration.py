"""Write schemas/config.schema.yaml, for editors, and docs/configuration.md, for readers, from its models.

`make facts` runs it as python scripts/write_configuration.py; a test holds both files to what it would write.
"""

from pathlib import Path
from textwrap import fill
from typing import Any

import yaml

from triaxis.base.config import Config

PROJECT = Path(__file__).resolve().parents[1]
SCHEMA = PROJECT / "schemas" / "config.schema.yaml"
PAGE = PROJECT / "docs" / "configuration.md"
LONGEST = 60  # characters of a default that a table shows

INTRODUCTION = """\
# The configuration

<!-- Written from scripts/triaxis/base/config.py by `make facts`: edit that file, not this one. -->

A configuration is a YAML file: `make run CONFIG=my.yaml`, or `snakemake --configfile my.yaml --`.
It lies over `config.yaml`, the default run. Its `models` and `corpus` replace those
there; of the other sections it changes only the keys that it names.

- `models` and `corpus` are needed, every other key has a default.
- A section that is empty (null) has its defaults.
- A key whose default is null follows others, as its description says.
- Single keys can be given on the command line: `--config 'sequences={count: 4}'`.
- Snakemake hands these on as text, so text is read as YAML where a number, a list, true, false or
  null is meant: `"4"` is 4, and `1e-4`, which YAML takes for text, is 0.0001.
- A name that YAML does not read as text, such as `2024`, `3.5`, `yes` or `2024-01-01`, is put in
  quotes.
- Of a key that is written twice in one section, YAML takes the last without a word.
- Relative paths begin where the run starts.

What cannot be is refused before any job, in one line that names the key. An editor that knows
yaml-language-server checks and completes a file that begins with
`# yaml-language-server: $schema=schemas/config.schema.yaml`.
"""


def schema() -> dict[str, Any]:
    """The JSON schema of a configuration, every definition put where it is used."""
    found = Config.model_json_schema()
    definitions = found.pop("$defs")

    def plain(node: Any) -> Any:
        if isinstance(node, list):
            return [plain(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            node = definitions[node["$ref"].removeprefix("#/$defs/")] | node
        # Pydantic's titles, which are texts, are the keys again; a key may itself be called title.
        repeated = {"$ref"} | ({"title"} if isinstance(node.get("title"), str) else set())
        return {key: plain(item) for key, item in node.items() if key not in repeated}

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration of Triaxis",
        **plain(found),
    }


def schema_text() -> str:
    """The text of schemas/config.schema.yaml."""
    note = "# Written from scripts/triaxis/base/config.py by `make facts`: edit that file, not this one.\n"
    return note + yaml.safe_dump(schema(), sort_keys=False, allow_unicode=True, width=100)


def page_text() -> str:
    """The text of docs/configuration.md: a table for each section."""
    whole = schema()
    single = {key: node for key, node in whole["properties"].items() if not _sections(key, node)}
    parts = [INTRODUCTION, "## At the top\n", _table(single, whole["required"])]
    for key, node in whole["properties"].items():
        for place, section in _sections(key, node):
            parts += [f"## {place}\n", f"{fill(section['description'], 100)}\n"]
            parts += [_table(section["properties"], section.get("required", []))]
    return "\n".join(parts)


def _sections(place: str, node: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(place, schema) of the sections at a key and below it; NAME stands for a name of the user's own."""
    node = next((option for option in node.get("anyOf", []) if "properties" in option), node)
    if isinstance(node.get("additionalProperties"), dict):
        return _sections(f"{place}.NAME", node["additionalProperties"])
    if "properties" not in node:
        return []
    inner = [found for key, sub in node["properties"].items() for found in _sections(f"{place}.{key}", sub)]
    return [(place, node), *inner]


def _table(properties: dict[str, Any], required: list[str]) -> str:
    rows = ["| key | default | range | what it is |", "|---|---|---|---|"]
    for key, node in properties.items():
        description = node.get("description") or _options(node)[0].get("description", "")
        cells = [f"`{key}`", _default(key, node, required), _range(node), description.rstrip(".")]
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _default(key: str, node: dict[str, Any], required: list[str]) -> str:
    if key in required:
        return "needed"
    if "default" not in node:
        return "its keys' own"
    text = yaml.safe_dump(node["default"], default_flow_style=True, width=10_000).split("\n...")[0].strip()
    return f"`{text if len(text) <= LONGEST else text[:LONGEST] + '…'}`"


def _options(node: dict[str, Any]) -> list[dict[str, Any]]:
    return node.get("anyOf") or node.get("oneOf") or [node]


def _range(node: dict[str, Any], many: bool = False) -> str:
    """What a key's value may be, in words; many: what the items of a list may be."""
    if len(_options(node)) > 1:
        return " or ".join(_range(option) for option in _options(node))
    if "const" in node or node["type"] == "null":
        return f"`{node.get('const', 'null')}`"
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if node["type"] == "array":
        return f"list of {_range(node['items'], many=True)}{'; not empty' if node.get('minItems') else ''}"
    if node["type"] == "object":
        return "keys (below)" if "properties" in node else "names"
    kinds = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
    bounds = ", ".join(f"{sign} {node[key]:g}" for key, sign in limits.items() if key in node)
    return f"{kinds[node['type']]}{'s' if many else ''} {bounds}".strip()


if __name__ == "__main__":
    SCHEMA.write_text(schema_text())
    PAGE.write_text(page_text())
