"""Histograms of durations (`state/histogram.py`)."""

from __future__ import annotations

import itertools
import random
import statistics
import sys
from math import ceil

import pytest

from albkit.state.histogram import BOUNDS, COARSE_BOUNDS, Histogram


def _of(*durations: float) -> Histogram:
    histogram = Histogram()
    for duration in durations:
        histogram.observe(duration)
    return histogram


def test_empty_histogram_has_no_quantiles_and_no_mean() -> None:
    """Nothing is no duration, not a duration of 0."""
    empty = Histogram()
    assert (empty.count, empty.sum, empty.mean, empty.p50, empty.p90, empty.p99) == (0, 0.0, None, None, None, None)
    assert empty.cumulative() == [0] * (len(COARSE_BOUNDS) + 1)


def test_bounds_are_close_and_reach_from_a_tenth_of_a_millisecond_to_minutes() -> None:
    """What the accuracy rests on."""
    assert BOUNDS[0] == 0.0001
    assert BOUNDS[-1] == 300.0
    assert list(BOUNDS) == sorted(set(BOUNDS))
    assert max(high / low for low, high in itertools.pairwise(BOUNDS)) < 1.2001
    assert set(COARSE_BOUNDS) <= set(BOUNDS)


@pytest.mark.parametrize("bound", BOUNDS)
def test_bound_belongs_to_the_bucket_that_it_ends(bound: float) -> None:
    """`le` of Prometheus means less or equal, so that coarse buckets are exact."""
    histogram = _of(bound, bound * 1.0001)
    buckets = [place for place, count in enumerate(histogram.buckets) if count]
    assert buckets == [BOUNDS.index(bound), BOUNDS.index(bound) + 1]


@pytest.mark.parametrize("q", [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0])
@pytest.mark.parametrize("median", [0.0005, 0.02, 1.5, 30.0])
def test_quantile_is_at_most_ten_percent_off(q: float, median: float) -> None:
    """Compared with the exact one, by the nearest rank."""
    chance = random.Random(5)
    durations = [min(299.0, max(0.000101, median * chance.lognormvariate(0, 0.8))) for _ in range(2000)]
    exact = sorted(durations)[max(1, ceil(q * len(durations))) - 1]
    found = _of(*durations).quantile(q)
    assert found == pytest.approx(exact, rel=0.1)


def test_count_sum_and_mean_are_exact() -> None:
    """Only quantiles are approximate."""
    durations = [0.001, 0.5, 7.0, 1000.0]
    histogram = _of(*durations)
    assert histogram.count == 4
    assert histogram.sum == pytest.approx(sum(durations))
    assert histogram.mean == pytest.approx(statistics.mean(durations))


def test_durations_beyond_the_bounds_count_as_the_bounds() -> None:
    """No duration is lost, be it 0 or a day."""
    histogram = _of(0.0, 86_400.0)
    assert (histogram.quantile(0), histogram.quantile(1)) == (BOUNDS[0], BOUNDS[-1])
    assert histogram.cumulative() == [1] * len(COARSE_BOUNDS) + [2]


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_quantile_outside_of_0_to_1_is_refused(q: float) -> None:
    """50 instead of 0.5 is a mistake of the caller."""
    with pytest.raises(ValueError, match="0 to 1"):
        _of(1.0).quantile(q)


def test_coarse_buckets_are_exact() -> None:
    """Each coarse bound is a fine one, so nothing is estimated."""
    chance = random.Random(7)
    durations = [chance.lognormvariate(-3, 2) for _ in range(3000)]
    expected = [sum(duration <= bound for duration in durations) for bound in COARSE_BOUNDS]
    assert _of(*durations).cumulative() == [*expected, len(durations)]


def test_sum_of_histograms_is_that_of_all_durations() -> None:
    """By `add` and by `total`, empty ones among them."""
    parts = [_of(0.001, 0.002), Histogram(), _of(5.0), Histogram()]
    added = Histogram()
    for part in parts:
        added.add(part)
    whole = _of(0.001, 0.002, 5.0)
    for result in (added, Histogram.total(parts)):
        assert result.buckets == whole.buckets
        assert result.sum == pytest.approx(whole.sum)
    assert Histogram.total([]).count == 0


def test_sum_shares_nothing_with_its_parts() -> None:
    """What is added to one later is not added to the other."""
    one = _of(1.0)
    copies = [one.snapshot(), Histogram.total([one]), Histogram()]
    copies[2].add(one)
    one.observe(1.0)
    assert [copy.count for copy in copies] == [1, 1, 1]
    copies[2].observe(2.0)
    assert one.count == 2


def test_empty_histograms_stay_empty_when_another_gets_its_first_duration() -> None:
    """They share the list of their buckets."""
    one, other = Histogram(), Histogram()
    one.observe(1.0)
    assert (one.count, other.count, Histogram().count) == (1, 0, 0)


def test_difference_is_what_was_added_since() -> None:
    """For the last ten seconds, say."""
    histogram = _of(0.001, 0.001)
    earlier = histogram.snapshot()
    assert histogram.minus(earlier).count == 0
    histogram.observe(8.0)
    window = histogram.minus(earlier)
    assert (window.count, window.sum) == (1, pytest.approx(8.0))
    assert window.p50 == pytest.approx(8.0, rel=0.1)
    assert histogram.minus(Histogram()).count == 3


def test_difference_to_another_histogram_is_the_whole() -> None:
    """The load balancer was restarted meanwhile, and the group counts anew."""
    assert _of(1.0).minus(_of(2.0, 2.0)).count == 1
    assert Histogram().minus(_of(2.0)).count == 0


def test_idle_histogram_takes_little_memory() -> None:
    """There may be ten thousand idle targets."""
    assert sys.getsizeof(Histogram()) < 64
    assert Histogram().buckets is Histogram().buckets
