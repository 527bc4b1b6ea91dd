"""A section of the configuration: known keys only, text read as YAML, and each fault told in one line.

Keys, defaults and ranges are those of `triaxis.base.config`; here is what holds for all of them.
"""

import difflib
import re
from collections.abc import Hashable, Iterable
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
ALL, LIST = "<all>", "<list>"  # tags of `all` and of a list in a fault's place: no part of what the user wrote

WRONG = {
    "int_type": "is not a whole number",
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "bool_type": "is neither true nor false",
    "string_type": "is not text",
    "list_type": "is not a list: put it in brackets, [ and ]",
    "dict_type": "is not a mapping: write names under it, one a line",
    "model_type": "is not a mapping: write keys under it, one a line",
    "greater_than_equal": "is less than the minimum of {ge:g}",
    "greater_than": "is not greater than {gt:g}",
    "less_than_equal": "is greater than the maximum of {le:g}",
    "literal_error": "is not one of {expected}",
    "string_pattern_mismatch": "is not written as it has to be",
    "too_short": "is empty",
}


class Section(BaseModel):
    """A mapping of known keys. Null stands for its defaults; text is read as YAML wherever no text is meant."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, value: Any) -> Any:
        for key in value if isinstance(value, dict) else ():
            if key not in cls.model_fields:
                near = difflib.get_close_matches(str(key), cls.model_fields, n=1, cutoff=0.5)
                known = f"did you mean '{near[0]}'?" if near else f"the keys here are {', '.join(cls.model_fields)}"
                raise PydanticCustomError("unknown", "{known}", {"known": known, "key": str(key)})
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        """Nested values on Snakemake's command line arrive as text: '4', 'null', 'true', '[0, 1]'."""
        kind = cls.model_fields[info.field_name or ""].annotation
        if value is None and isinstance(kind, type) and issubclass(kind, Section):
            return {}
        leaves = set(_leaves(kind))
        if str in leaves:
            return None if value == "null" and type(None) in leaves else value
        read = from_text(value)
        items = [from_text(item) for item in (read if isinstance(read, list) else [read])]
        if int in leaves:
            items = [int(item) if isinstance(item, float) and item.is_integer() else item for item in items]
        return items if isinstance(read, list) else items[0]


def refuse(message: str, key: str = "") -> PydanticCustomError:
    """A fault of the key `key` below the place where it is raised; message: what is wrong, then what would be right."""
    return PydanticCustomError("refused", "{message}", {"message": message, "key": key})


def distinct(values: list[Hashable]) -> list[Hashable]:
    """The list itself; raises if it holds a value twice."""
    for place, value in enumerate(values):
        if value in values[:place]:
            raise refuse(f"holds {shown(value)} twice: take one of them out")
    return values


def named(value: Any) -> Any:
    """A mapping itself; raises if one of its names is no text, or no part of a file's name."""
    for name in value if isinstance(value, dict) else ():
        if not isinstance(name, str):
            raise refuse(f"holds the name {shown(name)}, which YAML reads as {_kind(name)}: put it in quotes")
        if not re.fullmatch(NAME, name):
            raise refuse(
                f"holds the name '{name}': a name begins with a letter or digit and has only these, dots, hyphens and "
                "underscores"
            )
    return value


def shown(value: Any) -> str:
    """A value about as the user wrote it, cut to one line."""
    text = repr(value) if isinstance(value, str) else "null" if value is None else str(value)
    text = " ".join((text.lower() if isinstance(value, bool) else text).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def rank(error: ErrorDetails) -> tuple[bool, int]:
    """Unknown keys first: a misspelt key is often why a required one is missing. Then the fault nearest the top."""
    return (error["type"] != "unknown", len(error["loc"]))


def explain(error: ErrorDetails, root: type[Section], renamed: dict[str, str]) -> str:
    """One line that names the key as the user wrote it, its value and what would be right.

    root: the whole configuration. renamed: keys of earlier versions, and what takes their place.
    """
    fault, values = error["type"], error.get("ctx", {})
    places = [str(place) for place in error["loc"] if place not in (ALL, LIST)]
    key = ".".join(filter(None, [*places, values.get("key", "")]))
    if key in renamed:
        return f"config key '{key}' is unknown: {renamed[key]}"
    if fault == "unknown":
        return f"config key '{key}' is unknown; {values['known']}"
    if fault == "missing":
        return f"config key '{key}' is missing"
    if fault == "refused":
        return f"config key '{key}' {values['message']}"
    wrong = WRONG[fault].format(**values) if fault in WRONG else " ".join(error["msg"].split())
    return f"config key '{key}': {shown(error['input'])} {wrong} (it is: {_described(places, root)})"


def _described(places: Iterable[str], root: type[Section]) -> str:
    """The description of the key at `places`: its own, that of its section, or of an item that of its list."""
    kind: Any = root
    description = ""
    for place in places:
        section = _section(kind)
        if section is None:
            kind = _inside(kind)
        else:
            kind, description = section.model_fields[place].annotation, section.model_fields[place].description or ""
        if own := _section(kind):
            description = description or (own.__doc__ or "")
    return description.rstrip(".")


def _section(kind: Any) -> type[Section] | None:
    """The section that a value of this type is, if it is one."""
    if isinstance(kind, type) and get_origin(kind) is None:
        return kind if issubclass(kind, Section) else None
    if get_origin(kind) in (list, dict):
        return None
    return next(filter(None, map(_section, get_args(kind))), None)


def _inside(kind: Any) -> Any:
    """The type of the items of a list, or of the values of a mapping."""
    if get_origin(kind) in (list, dict):
        return get_args(kind)[-1]
    return next(filter(None, map(_inside, get_args(kind))), None)


def _leaves(kind: Any) -> Iterable[Any]:
    """The types that a field's values and their items have: str and NoneType for str | None, int for list[int]."""
    if get_origin(kind) is Annotated:
        yield from _leaves(get_args(kind)[0])
    elif isinstance(kind, type) and get_origin(kind) is None:
        yield kind
    else:
        for part in get_args(kind):
            yield from _leaves(part)


def from_text(value: Any) -> Any:
    """Text as YAML reads it, and numbers such as 1e-4, which YAML does not; other values as they are."""
    if not isinstance(value, str):
        return value
    try:
        return float(value) if re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", value) else yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        return value


def _kind(value: Any) -> str:
    """What YAML takes a name for that is not text."""
    if isinstance(value, bool):
        return "true or false"
    if value is None:
        return "nothing"
    return "a number" if isinstance(value, int | float) else f"a {type(value).__name__}"
