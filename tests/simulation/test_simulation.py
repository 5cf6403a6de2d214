"""Ingest, book and candles in virtual time with seeded faults: a book called live equals the exchange's.

What each fault excuses, and for how long, is one table: `bounds.BOUNDS`. `python -m tests.simulation --help` runs more
seeds, for longer. A seed that has ever failed is in REGRESSIONS, with what it found.
"""

from dataclasses import replace

import pytest

from pulse.candle_history.reconciler import RECENT_MINUTES
from tests.simulation.bounds import BOUNDS
from tests.simulation.parallel import Failure, run_all
from tests.simulation.process import Settings
from tests.simulation.run import Outcome, Plan, simulate
from tests.simulation.schedule import KINDS

SEEDS = range(1, 51)
PROCESSES = 2
LIVELIER = replace(Settings(), changes_per_s=0.8)
CLEAN_HOURS = 24
CLEAN = Plan(1, hours=CLEAN_HOURS, kinds=(), settings=Settings())
ROTATIONS = Plan(1, hours=3.3, kinds=(), settings=replace(Settings(), rotate_after_s=8.0))
KILLS = Plan(3, hours=18, kinds=("kill",), pause_s=150.0)
HALTS = Plan(4, hours=3, kinds=("halt",), pause_s=600.0)
FALSEHOODS = Plan(9, hours=3, kinds=("falsehood",), settings=LIVELIER, pause_s=40.0)
MUTES = Plan(11, hours=6, kinds=("mute",), pause_s=200.0)
NAMED = ("drop", "cut", "mute", "falsehood", "rest_down", "halt", "restart", "shutdown")
NAMES = Plan(12, 1.0, NAMED, symbols=("\u5e01\u5b89\u4eba\u751fUSDT",), settings=LIVELIER, pause_s=90.0)
"""A symbol whose name is not ASCII, as the exchange lists some."""
THREE = Plan(7, hours=0.5, symbols=("LTCUSDT", "AVAXUSDT", "LINKUSDT"))

REGRESSIONS = {
    Plan(1, 0.5, (), settings=LIVELIER): "a quiet market's silence was called stale while depth20 confirmed the book",
    Plan(2, 0.3, ("stall_all",)): "while depth20 flowed, nothing noticed that depth and bookTicker had stalled",
    Plan(1, 0.25, ("hiccup",), settings=LIVELIER): "a minute closed by time though its last trades had been lost",
    Plan(2, 0.1, ("clock_jump",)): "a running minute was called closed by REST, going by this machine's wrong date",
    Plan(5, 0.2, ("ban", "clock_jump"), pause_s=120.0): "after a jump of the date a restart took a ban for over",
    Plan(1, 0.15, ("refuse",), pause_s=60.0, clock_error_s=18_900.0): (
        "started with a clock hours ahead, minutes to come were taken for ones that the exchange lacks"
    ),
}
"""Runs that have failed once, and the mistake each found."""

Results = dict[Plan, Outcome | Failure]


@pytest.fixture(scope="module")
def results() -> Results:
    """Run every long plan in PROCESSES processes, the longest first."""
    plans = [
        CLEAN,
        KILLS,
        ROTATIONS,
        HALTS,
        FALSEHOODS,
        MUTES,
        NAMES,
        THREE,
        *(Plan(seed) for seed in SEEDS),
        *REGRESSIONS,
    ]
    return dict(zip(plans, run_all(plans, PROCESSES), strict=True))


def outcome_of(results: Results, plan: Plan) -> Outcome:
    """Return a plan's outcome; fail with the command that repeats it when it failed."""
    result = results[plan]
    if isinstance(result, Failure):
        pytest.fail(f"{result.reason}\nagain: {result.command}", pytrace=False)
    return result


@pytest.mark.proves("any-fault")
@pytest.mark.parametrize("seed", SEEDS)
def test_live_book_is_exact_under_any_fault(seed: int, results: Results) -> None:
    """An hour with a subset of faults: a live book is exact, REST calls keep the limits, symbols recover in time."""
    outcome = outcome_of(results, Plan(seed))

    assert outcome.faults > 0
    assert outcome.tally.compared > 100


def test_seeds_cover_every_fault(results: Results) -> None:
    """Every kind of fault is drawn by at least one seed."""
    drawn = {kind for seed in SEEDS for kind in outcome_of(results, Plan(seed)).kinds}

    assert drawn == set(KINDS)


def test_clean_hours_raise_no_alarm(results: Results) -> None:
    """Without a fault: live from the first snapshot to the end, no diff or trade lost, all audits equal."""
    tally = outcome_of(results, CLEAN).tally

    assert (tally.outages, tally.losses, tally.downs, tally.trade_gaps, tally.undetected) == (0, 0, 0, 0, 0)
    assert (tally.quarantined, tally.silences) == (0, 0)
    assert tally.anchors > CLEAN_HOURS * 5


@pytest.mark.proves("daily-cut")
def test_thousand_rotations_lose_nothing(results: Results) -> None:
    """Connection follows connection, and every diff and every trade is there once, in order, without a gap."""
    outcome = outcome_of(results, ROTATIONS)
    tally = outcome.tally

    assert outcome.rotations >= 1000
    assert (tally.outages, tally.losses, tally.downs, tally.trade_gaps) == (0, 0, 0, 0)


@pytest.mark.proves("killed")
def test_two_hundred_kills_leave_every_candle_and_trade(results: Results) -> None:
    """Killed at any moment, away for 3 to 300 s: in the end every stored row and trade id is the exchange's."""
    outcome = outcome_of(results, KILLS)

    assert outcome.kills >= 200
    assert outcome.tally.rows > 18 * 60


@pytest.mark.proves("halt")
def test_halts_create_no_candles(results: Results) -> None:
    """While the exchange suspends trading it has no candles, and neither do we, however late its status arrives."""
    outcome = outcome_of(results, HALTS)

    assert outcome.faults >= 10
    assert outcome.tally.rows < RECENT_MINUTES + 3 * 60 - outcome.faults
    assert outcome.tally.trade_gaps == 0


@pytest.mark.proves("impossible")
def test_impossible_values_are_never_applied(results: Results) -> None:
    """Each value of each frame falsified, hundreds of times: quarantined, nothing stored is wrong, no trade is lost."""
    outcome = outcome_of(results, FALSEHOODS)
    tally = outcome.tally

    assert tally.quarantined > 200
    assert tally.trade_gaps == 0


@pytest.mark.proves("stream-silent")
def test_muted_streams_are_noticed_and_restored(results: Results) -> None:
    """One stream at a time: called silent within its bound, live again within 5 s of its next frame.

    The book goes on, and no trade is lost.
    """
    outcome = outcome_of(results, MUTES)
    tally = outcome.tally

    assert outcome.faults > 80
    assert tally.silences > 60
    assert (tally.losses, tally.trade_gaps) == (0, 0)


def test_several_symbols_share_one_budget(results: Results) -> None:
    """Three symbols with faults stay within the limits of one address."""
    assert outcome_of(results, THREE).tally.compared > 1000


@pytest.mark.proves("names")
def test_a_name_that_is_not_ascii_survives_faults(results: Results) -> None:
    """A minute between two faults of several kinds: the same promises as for any other symbol."""
    outcome = outcome_of(results, NAMES)

    assert outcome.faults > 10
    assert outcome.tally.compared > 100
    assert outcome.tally.candles > 10


def _name_of(plan: Plan) -> str:
    """Return a regression's name: its seed and its kinds of fault, `drawn` where the seed draws them."""
    kinds = "drawn" if plan.kinds is None else "-".join(plan.kinds) or "clean"
    return f"seed-{plan.seed}-{kinds}"


@pytest.mark.parametrize("plan", REGRESSIONS, ids=_name_of)
def test_regression(plan: Plan, results: Results) -> None:
    """A run that has found a mistake once now passes."""
    outcome_of(results, plan)


@pytest.mark.parametrize("kinds", [None, ("ban", "rest_down", "refuse")])
def test_one_seed_is_one_run(kinds: tuple[str, ...] | None) -> None:
    """Everything follows from the seed: twice the same hash, and another hash for another seed."""
    first, second = (simulate(Plan(5, 0.2, kinds)) for _ in range(2))
    other = simulate(Plan(6, 0.2, kinds))

    assert first.digest == second.digest
    assert first.digest != other.digest


def test_every_fault_has_its_bounds() -> None:
    """What a fault excuses is stated for each kind."""
    assert set(KINDS) | {"start"} == set(BOUNDS)
