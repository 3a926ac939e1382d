from __future__ import annotations

import gc
import logging

import pytest

from albkit.control.observers import Observer, Observers
from albkit.model.message import ClientAddress
from albkit.state.record import ExchangeRecord

_RECORD = ExchangeRecord(ClientAddress("192.0.2.1", 1))
Seen = list[tuple[str, ExchangeRecord]]


class Run:
    """What an `Observers` needs of a runtime."""

    def __init__(self) -> None:
        self.ended: Observer | None = None

    def finish(self) -> None:
        """End an exchange, as `proxy.finish` does."""
        if self.ended is not None:
            self.ended(_RECORD)


def noting(seen: Seen, name: str) -> Observer:
    return lambda record: seen.append((name, record))


def test_run_without_observers_calls_nothing() -> None:
    """`ended` is `None` before the first observer is added and after the last one is removed."""
    observers, run = Observers(), Run()
    observers.attach(run)
    assert run.ended is None
    remove = observers.add(noting([], "a"))
    assert run.ended is not None
    remove()
    remove()
    assert run.ended is None


def test_observers_are_called_in_the_order_in_which_they_were_added() -> None:
    """Each of them gets each record, and none of them gets one after its removal."""
    observers, run, seen = Observers(), Run(), Seen()
    observers.attach(run)
    first = observers.add(noting(seen, "first"))
    second = observers.add(noting(seen, "second"))
    run.finish()
    assert seen == [("first", _RECORD), ("second", _RECORD)]
    first()
    run.finish()
    assert seen[2:] == [("second", _RECORD)]
    second()
    run.finish()
    assert len(seen) == 3


def test_the_same_function_added_twice_is_called_twice() -> None:
    """Each removal ends one of the two."""
    observers, run, seen = Observers(), Run(), Seen()
    observers.attach(run)
    note = noting(seen, "a")
    remove = observers.add(note)
    observers.add(note)
    run.finish()
    assert len(seen) == 2
    remove()
    remove()
    run.finish()
    assert len(seen) == 3


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "with another"])
def test_observer_that_raises_is_logged_once_per_second_and_stays(others: int, caplog: pytest.LogCaptureFixture) -> None:
    """The others are called, and the exchange goes on."""
    observers, run, seen = Observers(), Run(), Seen()
    observers.attach(run)
    calls = []

    def raises(record: ExchangeRecord) -> None:
        calls.append(record)
        raise RuntimeError("an observer's own fault")

    observers.add(raises)
    for _ in range(others):
        observers.add(noting(seen, "other"))
    with caplog.at_level(logging.ERROR, logger="albkit"):
        for _ in range(20):
            run.finish()
    assert len(calls) == 20
    assert len(seen) == 20 * others
    # 20 calls may take longer than a second on a machine that is busy.
    assert 1 <= len(caplog.records) < 20
    assert "an observer's own fault" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_observer_may_end_the_program(error: type[BaseException]) -> None:
    """Ctrl-C and `sys.exit` are not errors of an observer."""
    observers, run = Observers(), Run()
    observers.attach(run)

    def ends(_: ExchangeRecord) -> None:
        raise error

    observers.add(ends)
    with pytest.raises(error):
        run.finish()


def test_observers_may_be_added_and_removed_during_a_call() -> None:
    """The change takes effect with the next record, and nobody misses one."""
    observers, run, seen = Observers(), Run(), Seen()
    observers.attach(run)

    def once(record: ExchangeRecord) -> None:
        seen.append(("once", record))
        remove()
        observers.add(noting(seen, "added"))

    remove = observers.add(once)
    observers.add(noting(seen, "other"))
    run.finish()
    assert [name for name, _ in seen] == ["once", "other"]
    seen.clear()
    run.finish()
    assert [name for name, _ in seen] == ["other", "added"]


def test_observers_outlast_a_run() -> None:
    """A load balancer that starts again has the same ones, and the run before, whose last exchanges still end, follows each change."""
    observers, before, after, seen = Observers(), Run(), Run(), Seen()
    observers.attach(before)
    remove = observers.add(noting(seen, "a"))
    observers.attach(after)
    before.finish()
    after.finish()
    assert len(seen) == 2
    remove()
    assert before.ended is after.ended is None


def test_observers_do_not_keep_a_run_alive() -> None:
    """A runtime holds the connections of its run."""
    observers = Observers()
    observers.attach(Run())
    gc.collect()
    assert len(observers._runs) == 0
