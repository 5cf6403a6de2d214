"""Coverage of a day: right shares, right holes, right causes, whatever the order and the number of the processes."""

import random

import pytest

from pulse.market.coverage import (
    DAY_MS,
    HOLES_MAX,
    NOT_FETCHED,
    NOT_RUNNING,
    RUNNING_DAYS_MAX,
    STALLED_MS,
    TRADES_LOST,
    DayCoverage,
    Hole,
    ProofRecord,
    day_of,
    holes_between,
    joined,
    merge_days,
    missing_minutes,
    share,
    with_causes,
)
from pulse.market.types import MINUTE_MS, TradeGap

DAY = 20_000 * DAY_MS
HOUR_MS = 3_600_000


def record_of(*notes: tuple[int, str]) -> ProofRecord:
    """Return a record with these notes, and one every second between them; times are seconds of the day."""
    record = ProofRecord("BTCUSDT")
    for (at_s, cause), (next_s, _) in zip(notes, [*notes[1:], (notes[-1][0] + 1, "")], strict=True):
        for second in range(at_s, next_s):
            record.note(cause, f"{cause} it is" if cause else "", DAY + second * 1000)
    return record


def day(since_s: int, until_s: int, *holes: tuple[int, int, str]) -> DayCoverage:
    """Return a day; times are seconds of it."""
    return DayCoverage(
        "BTCUSDT", DAY, DAY + since_s * 1000, DAY + until_s * 1000,
        tuple(Hole(DAY + a * 1000, DAY + b * 1000, cause) for a, b, cause in holes),
    )  # fmt: skip


def seconds(holes: object) -> list[tuple[float, float, str]]:
    """Return holes with times in seconds of the day."""
    assert isinstance(holes, list | tuple)
    return [((hole.from_ms - DAY) / 1000, (hole.to_ms - DAY) / 1000, hole.cause) for hole in holes]


def test_each_state_that_is_not_proven_is_a_hole() -> None:
    """From the note that begins it to the one that ends it, the running one up to the newest note."""
    record = record_of(
        (10, "offline"), (12, "syncing"), (15, ""), (100, "stale"), (103, ""), (110, "offline"), (111, "offline")
    )
    (found,) = record.days(DAY)

    assert (found.since_ms, found.until_ms) == (DAY + 10_000, DAY + 111_000)
    assert seconds(found.holes) == [
        (10, 12, "offline"), (12, 15, "syncing"), (100, 103, "stale"), (110, 111, "offline")
    ]  # fmt: skip
    assert found.holes[0].reason == "offline it is"


def test_nothing_noted_is_no_day() -> None:
    """A symbol that was just opened."""
    assert ProofRecord("BTCUSDT").days(0) == []


def test_a_process_that_stood_still_did_not_watch() -> None:
    """A pause is a hole of its own, whatever the state before it; the state goes on after it."""
    record = ProofRecord("BTCUSDT")
    for at_ms, cause in [
        (0, ""),
        (1000, ""),
        (1000 + STALLED_MS, ""),
        (20_000, "offline"),
        (21_000, "offline"),
        (60_000, "offline"),
        (61_000, ""),
    ]:
        record.note(cause, "", DAY + at_ms)
    (found,) = record.days(DAY)

    assert seconds(found.holes) == [
        (6, 20, NOT_RUNNING), (20, 21, "offline"), (21, 60, NOT_RUNNING), (60, 61, "offline")
    ]  # fmt: skip


def test_a_clock_that_goes_back_a_little_takes_nothing_away() -> None:
    """The time that was noted stays; a change of state counts from there."""
    record = ProofRecord("BTCUSDT")
    for at_s, cause in [(100, ""), (101, ""), (97, "offline"), (98, "offline"), (102, "")]:
        record.note(cause, "", DAY + at_s * 1000)
    (found,) = record.days(DAY)

    assert (found.since_ms, found.until_ms) == (DAY + 100_000, DAY + 102_000)
    assert seconds(found.holes) == [(101, 102, "offline")]


def test_a_clock_that_is_set_back_begins_the_record_anew() -> None:
    """By years: what the wrong clock noted is not of these days, nor is there a row for each day in between."""
    record = ProofRecord("BTCUSDT")
    for at_s in (0, 1, 10**9, 10**9 + 1):
        record.note("stale" if at_s == 1 else "", "", DAY + at_s * 1000)
    ahead = record.days(0)
    for at_s, cause in [(10, ""), (11, "offline"), (13, ""), (14, "")]:
        record.note(cause, "", DAY + at_s * 1000)
    (found,) = record.days(0)

    assert len(ahead) == RUNNING_DAYS_MAX
    assert (found.since_ms, found.until_ms) == (DAY + 10_000, DAY + 14_000)
    assert seconds(found.holes) == [(11, 13, "offline")]


def test_days_are_cut_at_midnight() -> None:
    """A hole over midnight is in both days; earlier days can be left out."""
    record = ProofRecord("BTCUSDT")
    for second in range(-10, 11):
        record.note("offline" if -5 <= second < 5 else "", "", DAY + second * 1000)
    before, after = record.days(0)

    assert (before.day_ms, after.day_ms) == (DAY - DAY_MS, DAY)
    assert (before.until_ms, after.since_ms) == (DAY, DAY)
    assert seconds(before.holes) == [(-5, 0, "offline")]
    assert seconds(after.holes) == [(0, 5, "offline")]
    assert record.days(DAY) == [after]


def test_what_is_kept_elsewhere_is_dropped() -> None:
    """Whole holes before the time, and the claim to have watched it."""
    record = record_of((0, "offline"), (5, ""), (8, "stale"), (12, ""), (20, ""))
    record.forget_before(DAY + 10_000)
    (found,) = record.days(0)
    record.forget_before(DAY + 999_000)

    assert found.since_ms == DAY + 10_000
    assert seconds(found.holes) == [(8, 12, "stale")]
    assert record.since_ms == record.until_ms == DAY + 20_000


def test_a_long_reason_is_cut() -> None:
    """It is a text of others; what is stored is bounded."""
    record = ProofRecord("BTCUSDT")
    record.note("offline", "x" * 10_000, DAY)
    record.note("", "", DAY + 1000)

    assert len(record.days(0)[0].holes[0].reason) == 120


def test_the_number_of_holes_is_bounded_and_none_is_made_smaller() -> None:
    """The least proven time is given up; a record does not grow beyond twice the bound."""
    record = ProofRecord("BTCUSDT")
    for second in range(20 * HOLES_MAX):
        record.note("stale" if second % 2 else "", "", DAY + second * 1000)
    (found,) = record.days(0)
    few = joined(
        [Hole(at * 1000, at * 1000 + 10, "stale") for at in range(HOLES_MAX)]
        + [Hole(HOLES_MAX * 1000 - 980, HOLES_MAX * 1000, "offline")]
    )

    assert len(found.holes) <= HOLES_MAX
    assert len(record._holes) <= 2 * HOLES_MAX + 1
    assert (share(found.holes, found.since_ms, found.until_ms) or 0.0) <= 0.5
    assert len(few) == HOLES_MAX
    assert few[-1] == Hole((HOLES_MAX - 1) * 1000, HOLES_MAX * 1000, "offline")


def test_days_of_two_processes_are_one() -> None:
    """Proven where either has proven it; what neither watched is a hole; equal holes that touch are one."""
    first = day(0, 100, (10, 20, "offline"), (90, 100, "offline"))
    second = day(150, 300, (150, 160, "syncing"))
    overlapping = day(95, 200, (150, 170, "stale"))

    assert seconds(merge_days(first, second).holes) == [
        (10, 20, "offline"), (90, 100, "offline"), (100, 150, NOT_RUNNING), (150, 160, "syncing")
    ]  # fmt: skip
    assert seconds(merge_days(first, overlapping).holes) == [
        (10, 20, "offline"),
        (90, 95, "offline"),
        (150, 170, "stale"),
    ]
    assert seconds(merge_days(second, overlapping).holes) == [(150, 160, "syncing")]
    assert seconds(merge_days(day(0, 50, (40, 50, "stale")), day(50, 60, (50, 60, "stale"))).holes) == [
        (40, 60, "stale")
    ]


@pytest.mark.parametrize("seed", range(20))
def test_merging_is_as_a_second_by_second_comparison_finds(seed: int) -> None:
    """Against every second on its own; merging a day with itself or in the other order changes no proven time."""
    rng = random.Random(seed)

    def random_day() -> DayCoverage:
        since_s = rng.randrange(100)
        until_s = since_s + rng.randrange(1, 100)
        edges = sorted(rng.sample(range(since_s, until_s + 1), min(2 * rng.randrange(6), (until_s - since_s) // 2 * 2)))
        return day(since_s, until_s, *((a, b, rng.choice("ab")) for a, b in zip(edges[::2], edges[1::2], strict=True)))

    def proven(which: DayCoverage) -> set[int]:
        return {
            second for second in range(200)
            if which.since_ms <= DAY + second * 1000 < which.until_ms
            and not any(hole.from_ms <= DAY + second * 1000 < hole.to_ms for hole in which.holes)
        }  # fmt: skip

    one, other = random_day(), random_day()

    assert proven(merge_days(one, other)) == proven(one) | proven(other)
    assert proven(merge_days(other, one)) == proven(one) | proven(other)
    assert proven(merge_days(one, one)) == proven(one)


def test_all_holes_of_a_range() -> None:
    """Before, between and after what was watched; the share is of the whole range."""
    days = [day(3600, 7200, (4000, 4600, "offline")), day(0, 0)]
    holes = holes_between(days, DAY, DAY + 3 * HOUR_MS)

    assert seconds(holes) == [(0, 3600, NOT_RUNNING), (4000, 4600, "offline"), (7200, 10_800, NOT_RUNNING)]
    assert share(holes, DAY, DAY + 3 * HOUR_MS) == pytest.approx(3000 / 10_800)
    assert seconds(holes_between([], DAY, DAY + 1000)) == [(0, 1, NOT_RUNNING)]
    assert holes_between([day(0, 86_400)], DAY, DAY + DAY_MS) == []
    assert share([], DAY, DAY) is None


def test_missing_minutes_are_holes_with_causes() -> None:
    """Lost trades first, then the book's longest hole within, else they were not fetched."""
    stored = [DAY + at * MINUTE_MS for at in range(60) if at not in (5, 6, 20, 40)]
    missing = missing_minutes(stored, DAY, DAY + HOUR_MS)
    book = [
        Hole(DAY + 20 * MINUTE_MS, DAY + 20 * MINUTE_MS + 10, "stale"),
        Hole(DAY + 20 * MINUTE_MS + 20, DAY + 30 * MINUTE_MS, "offline", "cut"),
    ]
    gap = TradeGap("BTCUSDT", 1, 2, DAY + 5 * MINUTE_MS + 1, DAY + 5 * MINUTE_MS + 2, DAY)
    found = with_causes(missing, book, [gap])

    assert [(hole.from_ms // MINUTE_MS % 1440, hole.to_ms // MINUTE_MS % 1440, hole.cause) for hole in found] == [
        (5, 7, TRADES_LOST), (20, 21, "offline"), (40, 41, NOT_FETCHED)
    ]  # fmt: skip
    assert found[1].reason == "cut"
    assert share(found, DAY, DAY + HOUR_MS) == pytest.approx(56 / 60)


def test_a_day_begins_at_midnight_utc() -> None:
    """Days have no offset."""
    assert day_of(DAY + 5) == day_of(DAY) == DAY
