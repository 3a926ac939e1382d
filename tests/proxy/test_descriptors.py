"""How the descriptors of a process are divided."""

from __future__ import annotations

import sys

import pytest

from albkit.proxy import descriptors
from albkit.proxy.descriptors import Descriptors


def divided(monkeypatch: pytest.MonkeyPatch, limit: int, taken: int = 10) -> Descriptors:
    class Lowest:
        def __enter__(self) -> Lowest:
            return self

        def __exit__(self, *_: object) -> None: ...

        def fileno(self) -> int:
            return taken

    monkeypatch.setattr(descriptors.socket, "socket", Lowest)
    monkeypatch.setattr(descriptors, "_limit", lambda: limit)
    return Descriptors()


@pytest.mark.parametrize(
    ("limit", "taken", "for_sockets"),
    [
        (256, 10, 182),
        (1024, 10, 912),
        (1024, 500, 422),
        (20000, 20, 19468),
        (64, 10, 27),
        (256, 250, 3),
        (sys.maxsize, 10, sys.maxsize - 522),
    ],
)
def test_descriptors_are_for_sockets_but_for_the_programs_own_and_a_reserve(
    limit: int, taken: int, for_sockets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are few, half of what is left; what was taken before is nobody's to give."""
    they = divided(monkeypatch, limit, taken)
    assert they.for_sockets == for_sockets
    assert taken + they.for_sockets <= they.highest <= limit


def test_descriptors_of_this_process_are_counted() -> None:
    """The limit is the soft one."""
    resource = pytest.importorskip("resource")
    assert Descriptors().limit == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_system_without_limits_has_no_end_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no such limit, and others may have none set."""
    monkeypatch.setattr(descriptors, "resource", None)
    assert Descriptors().for_sockets > 2**40
