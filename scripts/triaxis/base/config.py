"""The configuration: checked against schemas/config.schema.yaml, completed with its defaults."""

import difflib
import re
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from triaxis.base.errors import UserError

SCHEMA = Path(__file__).resolve().parents[3] / "schemas" / "config.schema.yaml"


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """`config` with the schema's defaults filled in. Raises UserError, one line, at the first fault found."""
    schema = yaml.safe_load(SCHEMA.read_text())
    error = best_match(Draft202012Validator(schema).iter_errors(config), key=_relevance)
    if error is not None:
        raise UserError(explain(error))
    return _with_defaults(config, schema)


def _relevance(error: ValidationError) -> tuple[int, int]:
    """Unknown keys first: a misspelt key is often why a required one is missing. Then the fault nearest the top."""
    return (error.validator == "additionalProperties", -len(error.absolute_path))


def explain(error: ValidationError) -> str:
    """One line that names the key, its value and what would be right."""
    key = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = next(name for name in error.instance if name not in known)
        near = difflib.get_close_matches(str(unknown), known, n=1, cutoff=0)
        return f"config key '{'.'.join(filter(None, [key, str(unknown)]))}' is unknown; did you mean '{near[0]}'?"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"config key '{'.'.join(filter(None, [key, missing]))}' is missing"
    if error.validator == "type" and re.fullmatch(r"[-+.\d]+e[-+]?\d+", str(error.instance), re.IGNORECASE):
        return f"config key '{key}': YAML reads {error.instance} as text; write it with a point, such as 1.0e-4"
    expected = error.schema.get("description", "").rstrip(".")
    return f"config key '{key}': {error.message}" + (f" (it is: {expected})" if expected else "")


def _with_defaults(value: Any, schema: dict[str, Any]) -> Any:
    """`value` with the defaults of `schema`, at every depth."""
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    filled = {name: sub["default"] for name, sub in properties.items() if "default" in sub} | value
    other = schema.get("additionalProperties")
    return {
        name: _with_defaults(item, properties.get(name) or (other if isinstance(other, dict) else {}))
        for name, item in filled.items()
    }
