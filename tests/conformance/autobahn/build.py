"""Makes Autobahn's WebSocket test suite in a folder, for test_autobahn.py.

    python3.11 tests/conformance/autobahn/build.py FOLDER

The suite is Python 2 source. The papers that port it (named by ALBKIT_AUTOBAHN, or beside the checkout) need lib2to3, so this runs on
Python 3.11 or 3.12. Packages come from wherever pip is told to take them. A folder that is up to date is left as it is.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

SUITE = "autobahntestsuite"
VERSION = "25.10.1"


def papers() -> Path:
    """The folder of the script that ports the suite and of the pinned requirements."""
    named = os.environ.get("ALBKIT_AUTOBAHN")
    return Path(named) if named else Path(__file__).parents[4] / "shared" / "autobahn"


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Runs a program; what it said is shown only where it failed, and without addresses, which may hold a registry's password."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = re.sub(r"\b[a-z+]+://\S+", "(address)", done.stdout)
        raise SystemExit(f"{Path(command[0]).name} failed with status {done.returncode}:\n{said}")


def stamp(*sources: Path) -> str:
    """Changes with everything that the suite is made of."""
    digest = hashlib.sha256(f"{VERSION} {sys.version}".encode())
    for source in (Path(__file__), *sources):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()


def make(folder: Path, port: Path, requirements: Path) -> None:
    """The environment and the ported package, from nothing."""
    for old in ("venv", "source", "ported"):
        shutil.rmtree(folder / old, ignore_errors=True)
    source = folder / "source"
    source.mkdir(parents=True)
    run(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check", "--no-input")
    run(*pip, "install", "-r", requirements)
    # Its sdist stays as it came: installing it would need a Python 2.
    run(*pip, "download", "--no-deps", "--no-binary", SUITE, "--dest", source, f"{SUITE}=={VERSION}")
    with tarfile.open(source / f"{SUITE}-{VERSION}.tar.gz") as archive:
        archive.extractall(source, filter="data")
    run(sys.executable, port, source / f"{SUITE}-{VERSION}" / SUITE, folder / "ported")
    run(python, "-m", f"{SUITE}.wstest_main", "--autobahnversion", cwd=folder / "ported")


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        raise SystemExit("usage: build.py FOLDER")
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        raise SystemExit("Python 3.11 or 3.12 is needed: a later one has no lib2to3")
    folder = Path(arguments[0]).resolve()
    port, requirements = papers() / "port_autobahntestsuite.py", papers() / "requirements-known-good.txt"
    for source in (port, requirements):
        if not source.is_file():
            raise SystemExit(f"no {source.name}: ALBKIT_AUTOBAHN must name the folder of the papers that port the suite")
    made = folder / "made"
    if made.is_file() and made.read_text() == stamp(port, requirements):
        return
    made.unlink(missing_ok=True)
    make(folder, port, requirements)
    made.write_text(stamp(port, requirements))


if __name__ == "__main__":
    main(sys.argv[1:])
