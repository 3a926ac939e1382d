"""A default that a docstring mentions is the one in force: the table in `albkit.model.attributes` and the docstrings cannot drift apart."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator

import attrs
import pytest

import albkit as alb
from albkit.model.settings import Settings

FIELDS_OF = {alb.LoadBalancer: Settings}
CLASSES = [*FIELDS_OF, *(kind for name in alb.__all__ if isinstance(kind := getattr(alb, name), type) and attrs.has(kind))]
ARGUMENT = re.compile(r"^ {4}(\w+): ((?:.|\n {8})*)", re.MULTILINE)
DEFAULT = re.compile(r"Default: `([^`]*)`")
FEWEST = 80


def documented() -> Iterator[tuple[type, str, str]]:
    for kind in CLASSES:
        for name, words in ARGUMENT.findall(inspect.getdoc(kind) or ""):
            for default in DEFAULT.findall(words):
                yield kind, name, default


@pytest.mark.parametrize(("kind", "name", "default"), list(documented()), ids=str)
def test_documented_default_is_the_one_in_force(kind: type, name: str, default: str) -> None:
    """It is written as Python writes it."""
    field = getattr(attrs.fields(FIELDS_OF.get(kind, kind)), name)
    assert ast.literal_eval(default) == field.default


def test_defaults_are_found() -> None:
    """The docstrings are read at all."""
    assert len(list(documented())) >= FEWEST
