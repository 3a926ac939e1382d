"""The settings of an access log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import albkit as alb


async def _coroutine(line: str) -> None:
    pass


class _Asynchronous:
    async def __call__(self, line: str) -> None:
        pass


class _Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, line: str) -> None:
        pass


def _faults(*arguments: Any, **settings: Any) -> list[str]:
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.AccessLog(*arguments, **settings)
    return list(raised.value.faults)


def test_path_may_be_a_path_object() -> None:
    """It is kept as text, so that equal logs are equal."""
    assert alb.AccessLog(Path("a.log")) == alb.AccessLog("a.log")
    assert hash(alb.AccessLog(Path("a.log"))) == hash(alb.AccessLog("a.log"))
    assert alb.AccessLog("a.log", "json").format == "json"


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        pytest.param("", "is empty", id="empty"),
        pytest.param("a\0b", "NUL", id="NUL"),
        pytest.param("/var/log/", "add the name of a file", id="folder"),
        pytest.param(3, "neither a path nor a function", id="number"),
        pytest.param(b"a.log", "neither a path nor a function", id="bytes"),
        pytest.param(None, "neither a path nor a function", id="nothing"),
        pytest.param(_coroutine, "coroutine function", id="coroutine function"),
        pytest.param(_Asynchronous(), "coroutine function", id="object with an async call"),
        pytest.param(_Unhashable(), "not hashable", id="object that cannot be hashed"),
    ],
)
def test_destination_that_cannot_be_used_is_a_fault(destination: Any, words: str) -> None:
    """The fault says what to give."""
    (fault,) = _faults(destination)
    assert fault.startswith("destination: ")
    assert words in fault


def test_every_fault_is_listed() -> None:
    """All at once."""
    faults = _faults("", "xml", rotate_size=3, rotate_interval=0, keep=0, buffer_size="large")
    assert [fault.partition(":")[0] for fault in faults] == [
        "destination",
        "keep",
        "buffer_size",
        "rotate_size",
        "rotate_interval",
        "format",
    ]


def test_function_cannot_be_rotated() -> None:
    """Only files have names."""
    (fault,) = _faults(print, rotate_size=4096)
    assert "only files can be rotated" in fault


def test_listener_takes_a_log_none_or_false() -> None:
    """`False` is for a listener that logs nothing although the load balancer has a log."""
    for log in (None, False, alb.AccessLog("a.log")):
        assert alb.Listener(80, alb.FixedResponse(200), access_log=log).access_log == log
    for wrong in (True, 0, "a.log"):
        with pytest.raises(alb.ConfigurationError, match=r"access_log: .*give AccessLog"):
            alb.Listener(80, alb.FixedResponse(200), access_log=wrong)  # type: ignore[arg-type]


def test_stream_listener_takes_no_combined_log() -> None:
    """Its lines describe requests."""
    group = alb.TargetGroup("a", "127.0.0.1:1")
    with pytest.raises(alb.ConfigurationError, match="TCP listeners do not read"):
        alb.Listener(80, alb.Forward(group), protocol="TCP", access_log=alb.AccessLog("a.log", "combined"))


def test_load_balancer_takes_a_log_and_lists_what_is_wrong() -> None:
    """One file has one way of being written."""
    listeners = [
        alb.Listener(80, alb.FixedResponse(200), access_log=alb.AccessLog("a.log", "json")),
        alb.Listener(81, alb.FixedResponse(200), access_log=alb.AccessLog("./a.log", keep=3)),
        alb.Listener(82, alb.FixedResponse(200)),
    ]
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.LoadBalancer(listeners, access_log=alb.AccessLog("a.log"))
    (fault,) = raised.value.faults
    assert fault.startswith("listeners[1].access_log: './a.log' is also the file of access_log")
    with pytest.raises(alb.ConfigurationError, match=r"access_log: 'a\.log' is not AccessLog"):
        alb.LoadBalancer(listeners[2], access_log="a.log")


def test_log_that_no_listener_uses_is_not_opened() -> None:
    """All have their own, or none."""
    load_balancer = alb.LoadBalancer(
        alb.Listener(80, alb.FixedResponse(200), access_log=False), access_log=alb.AccessLog("/no/such/folder/a")
    )
    assert load_balancer._settings.logs == ()
