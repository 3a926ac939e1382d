"""Checks JSON against a schema: the part of JSON Schema 2020-12 that the admin API uses.

One table of schemas makes the OpenAPI document and checks the bodies, so that the two cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from albkit.admin.formats import FORMATS
from albkit.admin.problem import Fault

__all__ = ("Schema", "array", "faults_of", "one_of", "record", "reference")

Schema = Mapping[str, Any]

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_WORDS: Final = {
    "object": "an object",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "null": "null",
}
_CONSTANTS: Final = {"None": "null", "True": "true", "False": "false"}
_LONGEST = 60


def record(optional: Mapping[str, Schema] | None = None, /, **required: Schema) -> dict[str, Any]:
    """Make the schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def array(items: Schema, **more: Any) -> dict[str, Any]:
    """Make the schema of a list."""
    return {"type": "array", "items": items, **more}


def one_of(*schemas: Schema) -> dict[str, Any]:
    """Make the schema of what fits one of several."""
    return {"anyOf": list(schemas)}


def reference(name: str) -> dict[str, Any]:
    """Refer to a schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def faults_of(schema: Schema, value: Any, components: Mapping[str, Schema], path: str = "") -> list[Fault]:
    """Return everything that is wrong with a value.

    Args:
        schema: What it must fit.
        value: The value, as `json.loads` returns it.
        components: The schemas that others refer to, by name.
        path: The path of the value in the request.
    """
    return list(_faults(schema, value, components, path))


def _faults(schema: Schema, value: Any, components: Mapping[str, Schema], path: str) -> Iterator[Fault]:
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        yield from _faults_of_choice(schema["anyOf"], value, components, path)
        return
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else list(schema.get("type", ()))
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield path, f"{_shown(value)} is not {' or '.join(_WORDS[kind] for kind in kinds)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield path, f"{_shown(value)} is not one of {', '.join(map(_shown, schema['enum']))}"
    if "const" in schema and value != schema["const"]:
        yield path, f"{_shown(value)} is not {_shown(schema['const'])}"
    if isinstance(value, dict):
        yield from _faults_of_object(schema, value, components, path)
    elif isinstance(value, list):
        yield from _faults_of_list(schema, value, components, path)
    elif isinstance(value, str):
        yield from _faults_of_text(schema, value, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum"), schema.get("maximum")
        if (low is not None and value < low) or (high is not None and value > high):
            limits = f"{low} to {high}" if high is not None else f"{low} or more"
            yield path, f"{_shown(value)} is out of range; {limits}"
            return
        yield from _faults_of_format(schema, value, path)


def _faults_of_choice(choices: list[Schema], value: Any, components: Mapping[str, Schema], path: str) -> Iterator[Fault]:
    found = [list(_faults(choice, value, components, path)) for choice in choices]
    if not all(found):
        return
    # The faults of the schema that was probably meant: the one of the value's own kind that has the fewest.
    near = [faults for choice, faults in zip(choices, found, strict=True) if "type" in choice and _is(value, choice["type"])]
    if near:
        yield from min(near, key=len)
    else:
        words = list(dict.fromkeys(_WORDS[choice["type"]] for choice in choices))
        yield path, f"{_shown(value)} is {'not' if len(words) == 1 else 'neither'} {' nor '.join(words)}"


def _faults_of_object(schema: Schema, value: dict[str, Any], components: Mapping[str, Schema], path: str) -> Iterator[Fault]:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            yield _inside(path, name), "is missing"
    if len(value) < schema.get("minProperties", 0):
        yield path, f"is empty; give at least one of {', '.join(properties)}"
    if len(value) > schema.get("maxProperties", len(value)):
        yield path, f"has {len(value)} entries; at most {schema['maxProperties']}"
        return
    for name, item in value.items():
        if "propertyNames" in schema:
            yield from _faults(schema["propertyNames"], name, components, _inside(path, name))
        if name in properties:
            yield from _faults(properties[name], item, components, _inside(path, name))
        elif others is False:
            yield _inside(path, name), f"is unknown; give {' or '.join(properties) if properties else 'an empty object'}"
        elif others is not True:
            yield from _faults(others, item, components, _inside(path, name))


def _faults_of_list(schema: Schema, value: list[Any], components: Mapping[str, Schema], path: str) -> Iterator[Fault]:
    low, high = schema.get("minItems", 0), schema.get("maxItems")
    if len(value) < low or (high is not None and len(value) > high):
        yield path, f"has {len(value)} items; give {low} to {high}"
        return
    for index, item in enumerate(value):
        yield from _faults(schema["items"], item, components, f"{path}[{index}]")


def _faults_of_text(schema: Schema, value: str, path: str) -> Iterator[Fault]:
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    if len(value) < low or (high is not None and len(value) > high):
        yield path, f"has {len(value)} characters; give {low} to {high}"
    elif "pattern" in schema and not re.search(schema["pattern"], value):
        yield path, f"{_shown(value)} is not {schema.get('title', 'in the right form')}"
    else:
        yield from _faults_of_format(schema, value, path)


def _faults_of_format(schema: Schema, value: Any, path: str) -> Iterator[Fault]:
    if "format" in schema:
        wrong = FORMATS[schema["format"]](value)
        if wrong:
            yield path, wrong


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _inside(path: str, name: str) -> str:
    return f"{path}.{name[:_LONGEST]}" if path else name[:_LONGEST]


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        return ascii(value if len(value) <= _LONGEST else value[:_LONGEST] + "...")
    # Numbers are bounded: json.loads refuses those of more than 4300 digits.
    return _CONSTANTS.get(str(value), str(value)[:_LONGEST])
