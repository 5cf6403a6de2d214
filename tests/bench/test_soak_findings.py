"""The soak's verdict: each thing that must not happen fails it, and nothing else does."""

import json
from collections import Counter
from itertools import pairwise

import pytest

from bench.soak_findings import (
    EXCHANGE,
    LEFT_MAX,
    POSTGRES,
    REDIS,
    SLOPE_MAX_MB_H,
    Findings,
    schedule,
    slope_mb_h,
    unexpected_lines,
)


def line(message: str, level: str = "warning", **fields: str) -> str:
    """Return a line of the terminal's JSON log."""
    return json.dumps({"level": level, "message": message, **fields})


def samples(minutes: float, growth_mb_h: float, start_mb: float = 0.0) -> list[tuple[float, float]]:
    """Return memory that has grown by `start_mb` in the first minute, and then at a rate."""
    return [(60.0 * n, 100 + (start_mb if n else 0) + growth_mb_h * n / 60) for n in range(int(minutes) + 1)]


def findings(**fields: object) -> Findings:
    """Return what a good run of two hours found, changed in these fields."""
    good = {
        "minutes": 120.0, "times": 3.0, "samples": samples(120, 0.5, 50), "messages": 1, "tasks_before": 70,
        "tasks_after": 70 + LEFT_MAX, "files_before": 25, "files_after": 20, "books": {"BTCUSDT": 9},
        "faults": Counter({REDIS: 1}), "log": [line("bus lost, views stay within this process")], "exit_code": 0,
    }  # fmt: skip
    return Findings(**(good | fields))  # type: ignore[arg-type]


def test_two_hours_have_the_faults_at_their_periods() -> None:
    """Redis and PostgreSQL every ten minutes, the exchange every twenty."""
    begins = {part: [f.begin_s for f in schedule(120) if f.part == part] for part in (REDIS, POSTGRES, EXCHANGE)}

    periods = {part: {round(b - a) for a, b in pairwise(at)} for part, at in begins.items()}
    assert periods == {REDIS: {600}, POSTGRES: {600}, EXCHANGE: {1200}}


@pytest.mark.parametrize("minutes", [2.0, 30.0, 120.0])
def test_shorter_run_has_as_many_faults_and_never_two_at_once(minutes: float) -> None:
    """They are closer together, and the last one ends before the run does."""
    faults = schedule(minutes)

    assert Counter(fault.part for fault in faults) == {REDIS: 12, POSTGRES: 12, EXCHANGE: 6}
    assert all(a.end_s < b.begin_s for a, b in pairwise(faults))
    assert faults[-1].end_s < minutes * 60


def test_slope_is_that_of_the_last_ninety_minutes() -> None:
    """What grew before does not count."""
    early = [(60.0 * n, 100.0 + n) for n in range(30)]
    late = [(60.0 * n, 200.0 + 2.0 * (n - 30) / 60) for n in range(30, 121)]

    assert slope_mb_h(early + late, 120.0) == pytest.approx(2.0)


def test_slope_of_a_shorter_run_is_that_of_its_last_three_quarters() -> None:
    """A quarter of forty minutes is left out."""
    early = [(60.0 * n, 100.0 + n) for n in range(10)]
    late = [(60.0 * n, 200.0 + 2.0 * (n - 10) / 60) for n in range(10, 41)]

    assert slope_mb_h(early + late, 40.0) == pytest.approx(2.0)


def test_good_run_passes() -> None:
    """Growth below the bound, as many tasks as allowed, and only lines that a fault explains."""
    assert findings().reasons() == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"samples": samples(120, SLOPE_MAX_MB_H + 0.01)}, "grew by 1.01 MB an hour"),
        ({"tasks_after": 76}, "76 tasks at the end"),
        ({"files_after": 31}, "31 descriptors at the end"),
        ({"divergences": ["BTCUSDT bids"], "diverged": 1}, "differs from the exchange: BTCUSDT bids"),
        ({"books": {"BTCUSDT": 9, "ETHUSDT": 0}}, "no book of ETHUSDT could be compared"),
        ({"incomplete": ["the candles of BTCUSDT"]}, "not right again at the end: the candles of BTCUSDT"),
        ({"exit_code": -9}, "expected exit code 0 after SIGTERM, got -9"),
        ({"messages": 0}, "the clients received nothing"),
        ({"log": ["Traceback"]}, "unexpected log line: Traceback"),
        ({"late_s": 1.1}, "the exchange was 1.1 s behind: the machine is too slow for this load"),
    ],
)
def test_each_failure_has_its_reason(fields: dict[str, object], reason: str) -> None:
    """One thing wrong gives one reason."""
    (found,) = findings(**fields).reasons()

    assert reason in found


def test_late_exchange_explains_what_a_slow_machine_makes() -> None:
    """In a long run it is a reason of its own; in a short one it may also have gone unseen."""
    log = [line("machine clock is wrong")]

    assert len(findings(log=log).reasons()) == 1
    assert findings(log=log, late_s=1.1).reasons() == findings(late_s=1.1).reasons()
    assert findings(log=log, minutes=2.0, samples=samples(2, 0.0)).reasons() == []


@pytest.mark.parametrize("fields", [{"samples": samples(2, 60.0)}, {"late_s": 9.0}])
def test_short_run_judges_neither_memory_nor_speed(fields: dict[str, object]) -> None:
    """It is for a machine that has other work."""
    assert findings(minutes=2.0, **{"samples": samples(2, 0.0)} | fields).reasons() == []


@pytest.mark.parametrize(
    "text",
    [
        line("bus lost, views stay within this process", "error"),
        line("bus lost, views stay within this process", traceback="..."),
        line("store unavailable, candles pending"),
        line("trades lost"),
        "[1, 2]",
    ],
)
def test_line_that_no_fault_explains_is_unexpected(text: str) -> None:
    """An error, a traceback, the trouble of a part that did not fail, an unknown message, and what is no line."""
    assert unexpected_lines([line("symbol opened", "info"), text], {REDIS}) == [text]
