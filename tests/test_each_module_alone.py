from __future__ import annotations

import json
import os
import pathlib
import pkgutil
import subprocess
import sys

import pytest

import albkit

_MODULES = sorted(module.name for module in pkgutil.walk_packages(albkit.__path__, "albkit.") if module.name != "albkit.__main__")
_ABOVE_THE_DOOR = ("albkit.cli", "albkit.demo", "albkit.runner")
"""They use the package as its users do."""
_QUIET = ("albkit.model", "albkit.state", "albkit.wire", "albkit.policy", "albkit.report", "albkit.errors", "albkit.clock")

# A child per module is as good as a fresh interpreter and takes a tenth of its time. The package itself is replaced by an empty one
# with the same path: its own imports would load every room in the one order that works and hide what a room forgot.
_IMPORT_EACH = """
import importlib, json, os, sys, traceback, types
path, modules, whole = json.loads(sys.argv[1])
for name in modules:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        if name not in whole:
            package = sys.modules["albkit"] = types.ModuleType("albkit")
            package.__path__ = [path]
        try:
            importlib.import_module(name)
            said = [name, "", [loud for loud in ("aiohttp", "asyncio", "socket", "ssl") if loud in sys.modules]]
        except BaseException:
            said = [name, traceback.format_exc()[-2000:], []]
        os.write(writing, json.dumps(said).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        print(pipe.read())
    os.waitpid(pid, 0)
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, tuple[str, list[str]]]:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    whole = [name for name in _MODULES if name.startswith(_ABOVE_THE_DOOR)]
    argument = json.dumps([str(pathlib.Path(albkit.__file__).parent), _MODULES, whole])
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _IMPORT_EACH, argument], capture_output=True, text=True, timeout=50, check=False
    )
    assert run.returncode == 0, run.stderr
    return {name: (error, loud) for name, error, loud in map(json.loads, run.stdout.splitlines())}


@pytest.mark.parametrize("module", _MODULES)
def test_module_imported_alone_needs_no_other_import_first(module: str, imported: dict[str, tuple[str, list[str]]]) -> None:
    """Each module can be the first of the house that a program imports, without a warning."""
    error, _ = imported[module]
    assert not error, error


@pytest.mark.parametrize("module", [name for name in _MODULES if name.startswith(_QUIET)])
def test_module_below_the_proxy_floor_loads_no_network_code(module: str, imported: dict[str, tuple[str, list[str]]]) -> None:
    """The quiet floors load no aiohttp, event loop or sockets, not even at second hand."""
    _, loud = imported[module]
    assert loud == []
