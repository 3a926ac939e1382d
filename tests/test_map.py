"""tests/README.md says which tests cover which module. It names every module and every test file, and none that does not exist."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_MAP = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
_MODULES = {str(path.relative_to(_ROOT / "albkit")) for path in (_ROOT / "albkit").rglob("*.py") if not path.name.startswith("__")}
_TESTS = {str(path.relative_to(_ROOT / "tests")) for path in (_ROOT / "tests").rglob("test_*.py")}


def _own_test(module: str) -> str:
    return str(Path(module).with_name(f"test_{Path(module).name}"))


def _rows(title: str) -> list[tuple[str, list[str]]]:
    """The first cell of each row of a table, and the files in the second."""
    section = _MAP.partition(f"## {title}\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ") and "---" not in line]
    return [(cell.strip().strip("`"), re.findall(r"`([^`]+)`", tests)) for cell, tests in cells[1:]]


MODULES = _rows("Modules without a test file of their own")
TOPICS = _rows("Test files of a topic")


def test_every_module_has_its_own_tests_or_one_row() -> None:
    """A new module comes with a test file of its name, or with a row that says which tests cover it."""
    rows = Counter(module for module, _ in MODULES)
    assert {module for module, count in rows.items() if count > 1} == set()
    with_own_tests = {module for module in _MODULES if _own_test(module) in _TESTS}
    folders = {row for row in rows if row.endswith("/")}
    in_folders = {module for module in _MODULES if any(module.startswith(folder) for folder in folders)}
    assert _MODULES - with_own_tests - in_folders - rows.keys() == set(), "add a row to tests/README.md"
    assert rows.keys() - folders - _MODULES == set(), "these modules do not exist"
    empty = {folder for folder in folders if not any(module.startswith(folder) for module in _MODULES)}
    assert empty == set(), "these folders do not exist"
    assert rows.keys() & in_folders == set(), "the row of their folder has these modules already"
    assert rows.keys() & with_own_tests == set(), "these modules have a test file of their own"


def test_every_test_file_has_its_module_or_a_topic() -> None:
    """A test file that covers no module by name can be found by its topic."""
    of_a_module = {_own_test(module) for module in _MODULES}
    named = {test for _, tests in TOPICS for test in tests}
    assert _TESTS - of_a_module - named == set(), "add these to a topic in tests/README.md"


def test_files_in_the_map_exist() -> None:
    """Every row leads to tests."""
    for cell, tests in [*MODULES, *TOPICS]:
        assert tests, f"{cell} has no tests"
        assert set(tests) <= _TESTS, f"{cell} names tests that do not exist: {set(tests) - _TESTS}"
