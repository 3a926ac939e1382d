"""How long nothing has moved, on either side."""

from __future__ import annotations

from albkit.proxy.client.idle_tracker import IdleTracker


class Upstream:
    """A target's side, of which only the mark counts."""

    active = False
    is_full = False

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def read_in_small_chunks(self) -> None: ...


def test_time_runs_while_nothing_moves() -> None:
    """From the first look on."""
    stillness = IdleTracker()
    assert stillness.seconds(1000.0, 0, None, received=False) == 0
    assert stillness.seconds(1001.0, 0, None, received=False) == 1
    assert stillness.seconds(1003.0, 0, None, received=False) == 3


def test_bytes_of_the_client_are_a_move() -> None:
    """It sends."""
    stillness = IdleTracker()
    stillness.seconds(1000.0, 0, None, received=False)
    assert stillness.seconds(1003.0, 0, None, received=True) == 0
    assert stillness.seconds(1004.0, 0, None, received=False) == 1


def test_bytes_that_the_client_takes_are_a_move() -> None:
    """It reads: less waits to be sent than before. The same amount as before is none."""
    stillness = IdleTracker()
    stillness.seconds(1000.0, 500, None, received=False)
    assert stillness.seconds(1003.0, 400, None, received=False) == 0
    assert stillness.seconds(1004.0, 400, None, received=False) == 1
    assert stillness.seconds(1005.0, 0, None, received=False) == 0


def test_bytes_of_the_target_are_a_move_that_counts_once() -> None:
    """Its mark is taken down."""
    stillness, upstream = IdleTracker(), Upstream()
    stillness.seconds(1000.0, 0, upstream, received=False)
    upstream.active = True
    assert stillness.seconds(1003.0, 0, upstream, received=False) == 0
    assert not upstream.active
    assert stillness.seconds(1004.0, 0, upstream, received=False) == 1
