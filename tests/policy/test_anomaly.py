"""Which targets stand out among their peers: what is too little to tell, what is chance, and what is not (docs/alb.md 5.2)."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from albkit.policy.anomaly import LOWEST_SHARE, next_share, outliers

YES, NO, UNKNOWN = True, False, None


@pytest.mark.parametrize(
    ("tries", "expected"),
    [
        # Nobody, or nobody to compare with.
        ([], []),
        ([(100, 100)], [UNKNOWN]),
        # Too few requests to tell.
        ([(0, 0), (0, 0), (0, 0)], [UNKNOWN, UNKNOWN, UNKNOWN]),
        ([(1, 1), (100, 0), (100, 0)], [UNKNOWN, NO, NO]),
        ([(4, 4), (100, 0), (100, 0)], [UNKNOWN, NO, NO]),
        ([(100, 50), (0, 0), (1, 0)], [UNKNOWN, UNKNOWN, UNKNOWN]),
        # None of them errs, or all do alike: independent of how much.
        ([(100, 0), (100, 0), (100, 0)], [NO, NO, NO]),
        ([(100, 100), (100, 100), (100, 100)], [NO, NO, NO]),
        ([(100, 50), (100, 50), (100, 50)], [NO, NO, NO]),
        ([(10_000, 1_000), (100, 10), (1_000, 100)], [NO, NO, NO]),
        # One stands out, whatever its share of the requests.
        ([(100, 100), (100, 0), (100, 0)], [YES, NO, NO]),
        ([(100, 0), (100, 100), (100, 0)], [NO, YES, NO]),
        ([(10, 10), (100, 0), (100, 0)], [YES, NO, NO]),
        ([(10, 10), (10, 0), (10, 0)], [YES, NO, NO]),
        ([(1_000, 500), (10, 0), (10, 0)], [YES, NO, NO]),
        ([(100, 30), (100, 1), (100, 1)], [YES, NO, NO]),
        ([(100, 90), (100, 50), (100, 50)], [YES, NO, NO]),
        # Two that do, among enough that are well.
        ([(100, 100), (100, 100), (100, 0), (100, 0), (100, 0)], [YES, YES, NO, NO, NO]),
        ([(100, 50), (100, 50), (100, 0)], [YES, YES, NO]),
        # One that is better than its peers does not make them worse.
        ([(100, 100), (100, 100), (100, 90)], [NO, NO, NO]),
        # A little more errors are not worth the trouble, however sure they are.
        ([(100_000, 4_000), (100_000, 0), (100_000, 0)], [NO, NO, NO]),
        ([(100_000, 6_000), (100_000, 0), (100_000, 0)], [YES, NO, NO]),
        # As much as chance gives.
        ([(20, 2), (20, 1), (20, 1)], [NO, NO, NO]),
        ([(20, 4), (20, 1), (20, 1)], [NO, NO, NO]),
        ([(5, 1), (1_000, 1), (1_000, 1)], [NO, NO, NO]),
    ],
)
def test_targets_are_compared_with_their_peers(tries: list[tuple[int, int]], expected: list[bool | None]) -> None:
    """Shares of errors that differ by much, of which there are enough to be sure."""
    assert outliers(tries) == expected


_VOLUMES = [
    ("3 alike, few", [5] * 3),
    ("3 alike", [20] * 3),
    ("3 alike, many", [300] * 3),
    ("10 alike, few", [5] * 10),
    ("10 alike", [20] * 10),
    ("10 alike, many", [200] * 10),
    ("one has few", [5, 1_000, 1_000]),
    ("one has most", [1_000, 10, 10]),
]


def _errors(count: int, share: float, chance: random.Random) -> int:
    return sum(chance.random() < share for _ in range(count))


@pytest.mark.parametrize("share", [0.002, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("volumes", [volumes for _, volumes in _VOLUMES], ids=[name for name, _ in _VOLUMES])
def test_chance_alone_makes_no_target_stand_out(volumes: list[int], share: float) -> None:
    """Where all err alike a target is taken for anomalous three times in a thousand at most; the rule says once."""
    chance = random.Random(20)
    rounds = 2_000 if sum(volumes) < 500 else 150
    flagged = judged = 0
    # The errors of many rounds from few numbers drawn: tables of each volume, of which each round takes one.
    drawn = {count: [_errors(count, share, chance) for _ in range(rounds)] for count in set(volumes)}
    for _ in range(rounds):
        verdicts = outliers([(count, chance.choice(drawn[count])) for count in volumes])
        flagged += sum(verdict is True for verdict in verdicts)
        judged += len(volumes)
    assert flagged <= 0.003 * judged + 2, f"{flagged} of {judged}, {flagged / judged:.2%}"


@pytest.mark.parametrize(
    ("count", "bad", "good"),
    [(20, 0.6, 0.0), (20, 0.8, 0.05), (50, 0.4, 0.01), (100, 0.3, 0.05), (1_000, 0.15, 0.05)],
)
def test_target_that_errs_more_stands_out(count: int, bad: float, good: float) -> None:
    """In nine of ten rounds; the others hardly ever beside it."""
    chance = random.Random(21)
    rounds = 200
    found = wrong = 0
    for _ in range(rounds):
        first, *others = outliers([(count, _errors(count, share, chance)) for share in (bad, good, good, good)])
        found += first is True
        wrong += sum(verdict is True for verdict in others)
    assert found >= 0.9 * rounds
    assert wrong <= 1


def test_share_is_halved_step_by_step_and_never_taken_away() -> None:
    """A target without requests could not show that it is well again."""
    shares = [1.0]
    for _ in range(6):
        shares.append(next_share(shares[-1], anomalous=True))
    assert shares == pytest.approx([1.0, 0.5, 0.25, 0.125, 0.0625, LOWEST_SHARE, LOWEST_SHARE])
    assert LOWEST_SHARE > 0


def test_share_is_given_back_in_steps_and_in_full() -> None:
    """Exactly 1 at the end, whatever rounding does on the way."""
    shares = [LOWEST_SHARE]
    while shares[-1] < 1.0:
        shares.append(next_share(shares[-1], anomalous=False))
    assert len(shares) == 11
    assert max(after - before for before, after in pairwise(shares)) <= 0.1 + 1e-9
    assert shares[-1] == next_share(1.0, anomalous=False) == 1.0
