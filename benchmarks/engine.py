"""Runs the measurements: the proxies take turns under each kind of work, round after round."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bench import Bench, Case, RunningPeer
from benchmarks.figures import Row
from benchmarks.measure import MeasurementError, TooMuchError
from benchmarks.peers import Setup
from benchmarks.sites import Sites, sites

__all__ = ("measure", "rounds")

_WARM_UP = 0.5
_WORDS = 300
"""Characters of a failed program's output to report."""


def measure(bench: Bench, cases: Sequence[Case], *, once: bool = False) -> list[Row]:
    """Start the programs for the cases, measure, and stop them.

    Args:
        bench: The proxies and the settings.
        cases: The kinds of work, which take turns too.
        once: Skip the warm-up and run one round, for measurements that need a fresh proxy.
    """
    with sites(bench, list(dict.fromkeys(case.setup for case in cases))) as ready:
        return rounds(bench, ready, cases, once=once)


def rounds(bench: Bench, ready: Sites, cases: Sequence[Case], *, once: bool = False) -> list[Row]:
    """Measure every proxy under every kind of work in turn, round after round, so that disturbances of the machine affect all proxies
    alike."""
    of = 1 if once else bench.rounds
    placed = [(case, case.rows()) for case in cases]
    for case, rows in placed:
        taking_part = [peer for peer in bench.peers if peer.takes_part(case.setup)]
        for row in rows:
            row.peers = [peer.name for peer in taking_part]
        for peer in taking_part:
            why = peer.lacks(case.setup)
            site = ready.get((peer.name, case.setup))
            for row in rows:
                if why is not None:
                    row.leave_out(peer.name, why)
                elif isinstance(site, str):
                    row.fail(peer.name, site)
    bench.teller.begin(of * sum(_able(bench, ready, case, rows) for case, rows in placed))
    if not once and not bench.quick:
        _warm_up(bench, ready, placed)
    for number in range(1, of + 1):
        for case, rows in placed:
            for peer in bench.peers:
                site = ready.get((peer.name, case.setup))
                if isinstance(site, RunningPeer) and peer.name not in rows[0].failed and peer.name not in rows[0].left_out:
                    _take(bench, site, case, rows)
                    bench.teller.sampled(peer.name, rows)
        bench.teller.round_over(number, of, [row for _, rows in placed for row in rows])
    return [row for _, rows in placed for row in rows]


def _able(bench: Bench, ready: Sites, case: Case, rows: Sequence[Row]) -> int:
    able = (peer.name for peer in bench.peers if isinstance(ready.get((peer.name, case.setup)), RunningPeer))
    return sum(name not in rows[0].left_out for name in able)


def _warm_up(bench: Bench, ready: Sites, placed: Sequence[tuple[Case, list[Row]]]) -> None:
    """Run each proxy once in each setup, with the first case that uses it."""
    warm: set[tuple[str, Setup]] = set()
    shortly = bench._replace(seconds=min(bench.seconds, _WARM_UP))
    for case, rows in placed:
        for peer in bench.peers:
            key = (peer.name, case.setup)
            site = ready.get(key)
            if isinstance(site, RunningPeer) and key not in warm and peer.name not in rows[0].left_out:
                warm.add(key)
                _take(shortly, site, case, rows, keep=False)


def _take(bench: Bench, site: RunningPeer, case: Case, rows: Sequence[Row], *, keep: bool = True) -> None:
    try:
        samples = case.load(site, bench)
    except TooMuchError as error:
        for row in rows:
            row.leave_out(site.name, str(error))
        return
    except MeasurementError as error:
        words = site.program.last_words()
        why = f"{error}; it said: {' '.join(words.split())[-_WORDS:]}" if words != "nothing" else str(error)
        if not bench.keep_going:
            raise MeasurementError(f"{site.name}, {case.title}: {why}") from error
        for row in rows:
            row.fail(site.name, why)
        return
    if keep:
        for row, sample in zip(rows, samples, strict=True):
            row.add(site.name, sample)
