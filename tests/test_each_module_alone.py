"""Every module can be the first of albkit that a program imports, and the quiet floors load no network code."""

from __future__ import annotations

import json
import os
import pathlib
import pkgutil
import subprocess
import sys
from collections import defaultdict

import pytest

import albkit

_ABOVE_THE_DOOR = ("admin", "cli", "demo", "runner")
"""They use the package as its users do."""
_QUIET = ("clock", "errors", "model", "policy", "report", "state", "wire")
_LOUD = ("aiohttp", "asyncio", "socket", "ssl")
_FOREIGN = (
    "attrs",
    "re2",
    "multidict",
    "collections.abc",
    "enum",
    "functools",
    "hashlib",
    "inspect",
    "ipaddress",
    "logging",
    "random",
    "typing",
)
"""What the quiet floors import from elsewhere, the slow ones. Imported once, before the fork."""


def _by_floor() -> dict[str, list[str]]:
    floors: dict[str, list[str]] = defaultdict(list)
    for module in pkgutil.walk_packages(albkit.__path__, "albkit."):
        if module.name != "albkit.__main__":
            floors[module.name.split(".")[1]].append(module.name)
    return floors


FLOORS = _by_floor()

# A forked child per module is as good as a fresh interpreter and takes a tenth of its time. albkit itself is replaced by an empty package
# with the same path: its own imports would load every module in the one order that works, and hide a missing import.
_IMPORT_EACH = """
import importlib, json, os, sys, traceback, types
path, modules, whole, foreign, loud = json.loads(sys.argv[1])
for name in foreign:
    importlib.import_module(name)
for name in modules:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        if not whole:
            package = sys.modules["albkit"] = types.ModuleType("albkit")
            package.__path__ = [path]
        try:
            importlib.import_module(name)
            said = [name, "", [one for one in loud if one in sys.modules]]
        except BaseException:
            said = [name, traceback.format_exc()[-2000:], []]
        os.write(writing, json.dumps(said).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        print(pipe.read())
    os.waitpid(pid, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("floor", FLOORS)
def test_module_imported_alone_needs_no_other_import_first(floor: str) -> None:
    """Each module of a floor imports without a warning; those of a quiet floor load no network code, even indirectly."""
    is_quiet = floor in _QUIET
    foreign = _FOREIGN if is_quiet else (*_FOREIGN, *_LOUD)
    argument = json.dumps([str(pathlib.Path(albkit.__file__).parent), FLOORS[floor], floor in _ABOVE_THE_DOOR, foreign, _LOUD])
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _IMPORT_EACH, argument], capture_output=True, text=True, timeout=50, check=False
    )
    assert run.returncode == 0, run.stderr
    said = {name: (error, loud) for name, error, loud in map(json.loads, run.stdout.splitlines())}
    assert list(said) == FLOORS[floor]
    wrong = {name: error for name, (error, _) in said.items() if error}
    assert not wrong, "\n".join(f"{name}: {error}" for name, error in wrong.items())
    if is_quiet:
        assert {name: loud for name, (_, loud) in said.items() if loud} == {}


def test_every_floor_is_known() -> None:
    """A renamed floor would no longer be checked for network code."""
    assert FLOORS.keys() >= {*_ABOVE_THE_DOOR, *_QUIET}
