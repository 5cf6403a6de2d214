"""One symbol's market: its state and the reason for it, and when it requests a snapshot."""

import pytest

from pulse.market.flow_metrics import OFI_WINDOW_MS
from pulse.market.market import Market
from pulse.market.stream_states import KINDS, TICKER_LATE_MS, TRADE_LATE_MS
from pulse.market.types import (
    BookLost,
    CandleMismatch,
    FeedDown,
    FeedUp,
    Quarantined,
    State,
    StreamState,
    TradeIdsRestarted,
    TradesHeld,
)
from pulse.market.view import QuarantineView, View, WindowView
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle, diff, exchange_candle, ticker, trade
from tests.support.market import ASKS, BIDS, anchor, instrument, live_market, market_after, partial, view_of

LEFT = "the price left the part of the book that is known; a new snapshot is needed"
NEAR = "the price comes near the end of the known part of the book"


# --- state


def test_before_any_connection_it_is_offline() -> None:
    """Before the first connection nothing is known, and no data has an age."""
    market = market_after()

    assert market.state(0.0) == (State.OFFLINE, "not connected yet")
    assert market.data_age_ms(1e9) is None


def test_connected_without_a_book_it_is_syncing() -> None:
    """From the connection on the book is being joined."""
    assert market_after(FeedUp()).state(0.0) == (State.SYNCING, "joining the book: waiting for a snapshot")


def test_with_a_joined_book_it_is_live() -> None:
    """An anchor makes the book live, the diffs that follow keep it so."""
    market = live_market()
    market.apply(diff(11, 12, [(100.01, 1.0)]), 10.0)

    assert market.state(10.0) == (State.LIVE, "")
    assert view_of(market).bids[0] == (100.01, 1.0)


def test_anchor_includes_its_diffs() -> None:
    """The book of an anchor is the snapshot with its diffs applied."""
    view = view_of(market_after(FeedUp(), anchor(10, diff(9, 11, [(100.0, 0.0)]), diff(12, 12, [(99.0, 1.0)]))))

    assert (view.last_update_id, view.bids) == (12, [(99.99, 3.0), (99.98, 2.0), (99.0, 1.0)])


def test_a_lost_connection_is_offline_with_its_reason() -> None:
    """The last known book stays in the view, which is no longer live."""
    market = live_market()
    market.apply(FeedDown("the exchange closed the connection (code 1006)"), 5.0)
    view = view_of(market, 5.0)

    assert (view.state, view.state_reason) == (State.OFFLINE, "the exchange closed the connection (code 1006)")
    assert (view.bids[0], view.proof.resyncs) == ((100.0, 5.0), 1)


def test_end_of_a_recording_is_offline_without_a_resync() -> None:
    """A book that was live up to the end was never lost."""
    market = live_market()
    market.apply(FeedDown("the recording has ended", is_end=True), 5.0)
    view = view_of(market, 5.0)

    assert (view.state, view.state_reason, view.proof.resyncs) == (State.OFFLINE, "the recording has ended", 0)


def test_a_new_connection_needs_a_new_book() -> None:
    """The old book is not continued over an outage, whatever the new stream's ids are."""
    market = live_market()
    for event in (FeedDown("cut"), FeedUp(), diff(11, 11, [(100.01, 1.0)])):
        market.apply(event, 5.0)

    assert market.state(5.0)[0] is State.SYNCING
    assert view_of(market).last_update_id == 10
    market.apply(anchor(20), 6.0)
    assert market.state(6.0)[0] is State.LIVE


def test_a_lost_book_is_syncing_with_its_reason() -> None:
    """A gap ends the trust in the book, and is counted once."""
    market = live_market()
    market.apply(BookLost("updates before id 15 are missing: joining anew"), 5.0)
    market.apply(BookLost("again"), 6.0)

    assert market.state(6.0) == (State.SYNCING, "again")
    assert (market.integrity.resyncs, market.integrity.pop_resync_request()) == (1, "")


@pytest.mark.parametrize("status", ["HALT", "BREAK", "AUCTION_MATCH", ""])
def test_a_symbol_that_does_not_trade_is_halted(status: str) -> None:
    """Any status but TRADING halts, before all other reasons; and trading again ends it."""
    market = live_market()
    market.apply(instrument(status), 5.0)

    assert market.state(1e9) == (State.HALTED, f"the exchange lists BTCUSDT as {status}")
    market.apply(instrument("TRADING"), 5.0)
    assert market.state(5.0)[0] is State.LIVE


def test_silence_beyond_the_limit_is_stale() -> None:
    """A book of unknown habit may be silent for thirty seconds."""
    market = live_market()

    assert market.state(30_000.0)[0] is State.LIVE
    assert market.state(30_001.0) == (State.STALE, "no book update for 30 s")


def test_a_busy_book_is_stale_sooner() -> None:
    """Once its habit is known a busy book may be silent for the floor alone; the next diff ends it."""
    market = live_market()
    for i in range(20):
        market.apply(diff(11 + i, 11 + i), i * 100.0)

    assert market.state(1_900.0 + 5_000.0)[0] is State.LIVE
    assert market.state(1_900.0 + 5_001.0)[0] is State.STALE
    market.apply(diff(31, 31), 8_000.0)
    assert market.state(8_000.0)[0] is State.LIVE


def test_a_ticker_that_no_diff_follows_makes_the_book_stale() -> None:
    """A ticker beyond the book proves a change; three seconds later its diff is missing."""
    market = live_market()
    market.apply(ticker(11), 1_000.0)
    market.apply(ticker(12), 3_000.0)  # the first one's time counts

    assert market.state(4_000.0)[0] is State.LIVE
    assert market.state(4_001.0) == (State.STALE, "no book update for 4 s")


@pytest.mark.parametrize(("update_id", "state"), [(11, State.STALE), (10, State.LIVE)])
def test_a_partial_depth_beyond_the_book_makes_it_stale_too(update_id: int, state: State) -> None:
    """It shows a change as a ticker does."""
    market = live_market()
    market.apply(partial(update_id), 1_000.0)

    assert market.state(4_001.0)[0] is state


def test_ticker_before_the_first_book_is_not_ahead_of_it() -> None:
    """A ticker that comes while the first book is being joined shows nothing about it."""
    market = market_after(FeedUp(), ticker(9), anchor(10))

    assert market.state(4_000.0)[0] is State.LIVE


def test_diff_that_reaches_the_ticker_ends_the_lead() -> None:
    """Only a diff at or beyond the ticker's id shows that the book has caught up."""
    market = live_market()
    market.apply(ticker(12, *best_of(market)), 1_000.0)
    market.apply(diff(11, 11), 1_100.0)
    assert market.state(4_001.0)[0] is State.STALE

    market.apply(diff(12, 12), 4_100.0)
    assert market.state(9_000.0)[0] is State.LIVE


def best_of(market: Market) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the best levels of a market's book, as a ticker has them."""
    assert market.book is not None
    bid, ask = market.book.bids.best(), market.book.asks.best()
    assert bid is not None
    assert ask is not None
    return (bid.price, bid.quantity), (ask.price, ask.quantity)


def test_a_new_book_is_as_fresh_as_its_arrival() -> None:
    """Time spent joining is not silence, and a ticker that the new book has reached is no longer ahead of it."""
    market = live_market()
    market.apply(FeedDown("cut"), 5_000.0)
    market.apply(FeedUp(), 10_000.0)
    market.apply(ticker(30), 10_100.0)
    market.apply(anchor(20, diff(20, 30, time_ms=MIDNIGHT_MS + 7)), 40_000.0)

    assert market.state(60_000.0)[0] is State.LIVE
    assert (market.data_age_ms(40_500.0), view_of(market).event_time_ms) == (500, MIDNIGHT_MS + 7)


def test_ticker_beyond_a_new_book_is_still_ahead_of_it() -> None:
    """A new book that has not reached the ticker's id is as stale as the old one."""
    market = live_market()
    market.apply(ticker(31), 100.0)
    market.apply(BookLost("gap"), 200.0)
    market.apply(anchor(30), 300.0)

    assert market.state(3_101.0)[0] is State.STALE


@pytest.mark.parametrize(("update_id", "state"), [(10, State.LIVE), (9, State.STALE)])
def test_a_quiet_book_is_not_stale(update_id: int, state: State) -> None:
    """While the exchange itself repeats the book's own id, nothing has changed; an older id shows nothing."""
    market = live_market()
    market.apply(partial(update_id), 20_000.0)

    assert market.state(40_000.0)[0] is state


# --- the known window


def test_a_price_outside_the_known_window_is_not_shown_as_live() -> None:
    """With one side emptied of known levels the best price is unknown, until a known level returns."""
    market = live_market(limit=3)
    market.apply(diff(11, 11, [(price, 0.0) for price, _ in BIDS]), 1.0)

    assert market.state(1.0) == (State.SYNCING, LEFT)
    market.apply(diff(12, 12, [(99.99, 1.0)]), 2.0)
    assert market.state(2.0)[0] is State.LIVE


def test_an_empty_side_that_is_known_whole_is_live() -> None:
    """Where the whole side is known, it is known to be empty."""
    market = live_market()
    market.apply(diff(11, 11, [(price, 0.0) for price, _ in BIDS]), 1.0)

    assert market.state(1.0)[0] is State.LIVE
    assert view_of(market, 1.0).metrics.best_bid is None


@pytest.mark.parametrize("side", ["bids", "asks"])
def test_near_the_end_of_the_window_a_snapshot_is_requested_once(side: str) -> None:
    """With fewer than half of the levels known on one side a new snapshot is requested, while the book goes on."""
    rows = [(50.0 + i if side == "bids" else 150.0 - i, 1.0) for i in range(4)]
    bids, asks = (rows, ASKS) if side == "bids" else (BIDS, rows)
    market = market_after(FeedUp(), anchor(10, bids=bids, asks=asks, limit=4))
    for i, (price, _) in enumerate(reversed(rows[1:])):
        change = [(price, 0.0)]
        market.apply(diff(11 + i, 11 + i, *((change, ()) if side == "bids" else ((), change))), 1.0)

    assert (market.integrity.pop_resync_request(), market.integrity.pop_resync_request()) == (NEAR, "")
    assert market.state(1.0)[0] is State.LIVE


def test_a_shrinking_side_that_is_known_whole_needs_no_snapshot() -> None:
    """A whole side has no end to come near to."""
    market = live_market()
    market.apply(diff(11, 11, [(100.0, 0.0), (99.99, 0.0)]), 1.0)

    assert market.integrity.pop_resync_request() == ""


# --- trust


def test_a_crossed_book_is_joined_anew() -> None:
    """With the best bid at or above the best ask the book is not trusted, and a snapshot is requested."""
    market = live_market()
    market.apply(diff(11, 11, [(100.02, 1.0)]), 1.0)

    assert market.state(1.0) == (State.SYNCING, "best bid and best ask crossed")
    assert (market.integrity.pop_resync_request(), market.integrity.resyncs) == ("best bid and best ask crossed", 1)


def test_a_crossed_snapshot_is_refused() -> None:
    """A snapshot with crossed prices is no book, and another is requested."""
    market = market_after(FeedUp(), anchor(10, bids=[(101.0, 1.0)]))

    assert market.state(0.0) == (State.SYNCING, "the exchange's snapshot has crossed prices")
    assert (market.integrity.pop_resync_request(), market.book) == ("the exchange's snapshot has crossed prices", None)


def test_touch_that_differs_from_the_exchanges_ends_the_trust() -> None:
    """A bookTicker of the diff's own id with other levels ends the trust in the book, until the next anchor."""
    market = live_market()
    market.apply(ticker(11, (100.0, 4.0)), 1.0)
    market.apply(diff(11, 11), 2.0)
    reason = "best bid and ask differ from the exchange's own at id 11"

    assert market.state(2.0) == (State.SYNCING, reason)
    assert market.integrity.pop_resync_request() == reason
    market.apply(diff(12, 12, [(100.01, 1.0)]), 3.0)
    assert view_of(market).last_update_id == 11
    market.apply(anchor(13), 4.0)
    assert market.state(4.0)[0] is State.LIVE


def test_later_ticker_may_show_a_mismatch_too() -> None:
    """The comparison waits for a ticker at or beyond the diff's id."""
    market = live_market()
    market.apply(ticker(10), 1.0)
    market.apply(diff(11, 11), 2.0)
    assert market.state(2.0)[0] is State.LIVE

    market.apply(ticker(11, (100.0, 4.0)), 3.0)
    assert market.state(3.0)[0] is State.SYNCING


def test_touch_check_counts_what_agrees() -> None:
    """Every diff with a ticker is compared, and the view has the number of equal ones."""
    market = live_market()
    for event in (ticker(11), diff(11, 11), diff(12, 12), ticker(13)):
        market.apply(event, 1.0)

    proof = view_of(market).proof
    assert (proof.touch_compared, proof.touch_equal) == (2, 2)


def test_while_the_book_is_not_trusted_nothing_is_compared() -> None:
    """Tickers and diffs that arrive while the book is being joined are not compared."""
    market = live_market()
    market.apply(BookLost("gap"), 1.0)
    for event in (ticker(11, (1.0, 1.0)), diff(11, 11), ticker(12)):
        market.apply(event, 2.0)

    assert (market.integrity.touch.compared, market.integrity.resyncs) == (0, 1)


# --- other books of the exchange


def test_a_partial_that_agrees_is_counted() -> None:
    """The exchange's best levels are compared with the book's while it is trusted."""
    market = live_market()
    market.apply(partial(10), 1.0)
    market.apply(BookLost("gap"), 2.0)
    market.apply(partial(10, bids=[(1.0, 1.0)]), 3.0)

    proof = view_of(market).proof
    assert (proof.top_compared, proof.top_equal, market.data_age_ms(5.0)) == (1, 1, 2)


def test_partial_that_differs_ends_the_trust() -> None:
    """A different level of the exchange makes the book be joined anew."""
    market = live_market()
    market.apply(partial(10, bids=[(100.0, 9.0)]), 1.0)

    assert market.state(1.0) == (State.SYNCING, "the best levels differ from the exchange's own at id 10")
    assert market.integrity.pop_resync_request() == "the best levels differ from the exchange's own at id 10"


def test_partial_before_the_first_book_is_not_compared() -> None:
    """Without a book there is nothing to compare."""
    market = market_after(FeedUp(), partial(10))

    assert view_of(market).proof.top_compared == 0


def test_second_book_that_agrees_extends_the_running_one() -> None:
    """A snapshot brought up to the running book's id is compared, extends the window, and the book goes on."""
    market = live_market(limit=3)
    book = market.book
    market.apply(anchor(10, bids=[*BIDS, (99.0, 1.0)], asks=[*ASKS, (101.0, 1.0)], limit=4), 1.0)

    assert market.book is book
    assert view_of(market).window == WindowView(99.0, 101.0, 4, 4)
    assert (view_of(market).proof.levels_compared, market.state(1.0)[0]) == (6, State.LIVE)


def test_second_book_that_differs_replaces_the_running_one() -> None:
    """Where the exchange's own book differs ours was wrong, and the exchange's goes on."""
    market = live_market()
    market.apply(anchor(10, bids=[*BIDS[:2], (99.98, 7.0)]), 1.0)
    view = view_of(market)

    assert (view.proof.levels_differing, view.proof.resyncs, view.state) == (1, 1, State.LIVE)
    assert view.bids[-1] == (99.98, 7.0)


def test_crossed_second_book_is_refused() -> None:
    """A crossed second book is at fault itself: the running one goes on, and another snapshot is requested."""
    market = live_market()
    market.apply(anchor(10, bids=[(101.0, 1.0)]), 1.0)

    assert (market.state(1.0)[0], view_of(market).bids[0]) == (State.LIVE, (100.0, 5.0))
    assert market.integrity.pop_resync_request() == "the exchange's snapshot has crossed prices"


def test_certificate_has_the_evidence_for_a_book() -> None:
    """State, ids, window, counts and incidents, as of now."""
    market = live_market(limit=3)
    market.apply(diff(11, 12), 1.0)
    market.apply(BookLost("gap"), 2.0)
    shown = market.certificate(3.0)

    assert (shown.symbol, shown.state, shown.state_reason) == ("BTCUSDT", State.SYNCING, "gap")
    assert (shown.last_update_id, shown.contiguous_since_id, shown.diffs_applied) == (12, 10, 1)
    assert (shown.window, shown.proof) == (WindowView(99.98, 100.05, 3, 3), view_of(market).proof)
    assert [incident.cause for incident in shown.incidents] == ["gap"]


def test_candle_mismatches_of_the_store_are_in_the_certificate() -> None:
    """A mismatch that a comparison of stored candles found is counted and shown with our own, newest first."""
    market = live_market()
    minutes = [(MIDNIGHT_MS - n * MINUTE_MS, MIDNIGHT_MS + n) for n in (1, 2)]
    found = [CandleMismatch(candle(open_ms), candle(open_ms, volume=2.0), at_ms) for open_ms, at_ms in minutes]
    for mismatch in found:
        market.apply(mismatch, 1.0)

    assert market.certificate(1.0).candle_mismatches == found[::-1]
    assert market.candles.differing == 2


def test_before_a_book_the_certificate_is_empty() -> None:
    """A certificate can be made at any time."""
    shown = market_after().certificate(0.0)

    assert (shown.state, shown.last_update_id, shown.incidents) == (State.OFFLINE, 0, [])


def test_quarantined_frames_are_counted_in_the_certificate() -> None:
    """By kind, with the last reason; tickers around a missing one are no evidence, so the book stays live."""
    market = live_market()
    market.apply(ticker(9, (100.0, 4.0)), 0.0)
    for reason in ("a", "b"):
        market.apply(Quarantined("bookTicker", reason), 0.0)
    market.apply(Quarantined("trade", "c"), 0.0)
    market.apply(diff(11, 11), 0.0)
    market.apply(ticker(12), 0.0)

    assert market.certificate(0.0).quarantined == [
        QuarantineView("bookTicker", 2, "b", 0),
        QuarantineView("trade", 1, "c", 0),
    ]
    assert market.state(0.0)[0] is State.LIVE


def test_minute_of_a_quarantined_trade_is_not_closed_by_time() -> None:
    """Trades may be missing from it, so only the next trade's id or the exchange's candle decides."""
    market = live_market()
    market.apply(trade(1, time_ms=MIDNIGHT_MS + 1000), 0.0)
    market.apply(Quarantined("trade", "it was traded 12.0 s before it was sent"), 0.0)
    for number in range(11, 14):
        market.apply(diff(number, number, time_ms=MIDNIGHT_MS + 60_000 * (number - 10) + 2_500), 0.0)

    assert market.candles.take_closed() == []


def test_trades_go_on_where_ids_begin_anew() -> None:
    """Trades and sums begin anew with the ids, and no minute is called whole that may lack trades."""
    market = live_market()
    for event in (trade(1000, quantity=2.0), TradeIdsRestarted(), trade(1, time_ms=MIDNIGHT_MS + 1000)):
        market.apply(event, 0.0)
    market.apply(trade(2, time_ms=MIDNIGHT_MS + 60_000), 0.0)
    shown = view_of(market)

    assert [row.id for row in shown.trades] == [2, 1]
    assert (shown.metrics.trade_cvd, market.certificate(0.0).trade_id_restarts) == (2.0, 1)
    assert market.candles.take_closed() == []


# --- streams that fall silent


def market_with_streams(*events: object) -> Market:
    """Return a live market on a connection that carries every stream."""
    return market_after(FeedUp(frozenset(KINDS)), anchor(10), *events)


def views_until(market: Market, now_ms: float) -> View:
    """Make a view each second up to this time, and return the last."""
    return [view_of(market, at_ms) for at_ms in (*range(0, int(now_ms), 1000), now_ms)][-1]


@pytest.mark.proves("stream-silent")
def test_silent_ticker_confirms_no_book() -> None:
    """The view and the certificate name the check; tickers after the silence are not compared with those before."""
    market = market_with_streams(ticker(10), diff(11, 11, [(100.0, 7.0)]))
    assert views_until(market, TICKER_LATE_MS).proof.silent_checks == []
    view = view_of(market, TICKER_LATE_MS + 200)
    shown = {stream.kind: stream.state for stream in view.streams}

    assert view.proof.silent_checks == ["touch"]
    assert (view.state, shown["bookTicker"]) == (State.LIVE, StreamState.SILENT)
    assert market.take_silences() == ["bookTicker"]
    assert market.take_silences() == []
    certificate = market.certificate(TICKER_LATE_MS + 200)
    assert certificate.proof.silent_checks == ["touch"]
    assert next(stream.reason for stream in certificate.streams if stream.kind == "bookTicker")

    market.apply(diff(12, 12, [(100.0, 8.0)]), 5_000.0)
    market.apply(ticker(14, (100.0, 8.0)), 5_100.0)
    market.apply(diff(13, 14), 5_200.0)
    view = view_of(market, 5_200.0)
    assert (view.state, view.proof.silent_checks, view.proof.touch_equal) == (State.LIVE, [], 2)


def test_silent_ticker_ends_the_order_flow() -> None:
    """The flow between the best levels before and after the silence is unknown."""
    market = market_with_streams(ticker(9), ticker(10), diff(11, 11, [(100.0, 7.0)]))
    view_of(market)
    market.apply(ticker(11, (100.0, 7.0)), OFI_WINDOW_MS)
    assert view_of(market, OFI_WINDOW_MS).metrics.ofi == 2.0
    market.apply(diff(12, 12, [(100.0, 9.0)]), OFI_WINDOW_MS)
    for second in range(6):
        view = view_of(market, OFI_WINDOW_MS + 1000.0 * second)

    assert view.metrics.ofi is None


@pytest.mark.proves("silent-trades")
def test_silent_trades_leave_the_minute_to_the_exchange() -> None:
    """Trades that the exchange's candle names have not come: our running minute is not whole, and none closes."""
    first = exchange_candle(candle(volume=1.0, last_trade_id=1, is_closed=False), MIDNIGHT_MS + 50)
    later = exchange_candle(candle(volume=2.0, last_trade_id=2, is_closed=False), MIDNIGHT_MS + 90)
    market = market_with_streams(
        diff(11, 11, time_ms=MIDNIGHT_MS - MINUTE_MS), trade(1, time_ms=MIDNIGHT_MS + 10), first, later
    )
    views_until(market, TRADE_LATE_MS + 200)
    assert market.take_silences() == ["trade"]

    market.candles.take_closed()
    market.apply(diff(12, 12, time_ms=MIDNIGHT_MS + 2 * MINUTE_MS), TRADE_LATE_MS + 201)
    assert market.candles.take_closed() == []


def test_silence_of_a_halted_or_offline_symbol_is_as_it_should_be() -> None:
    """While nothing trades, or nothing is connected, no stream is judged."""
    for event in (instrument("BREAK"), FeedDown("cut")):
        market = market_with_streams(ticker(10), diff(11, 11, [(100.0, 7.0)]), event)
        views_until(market, 60_000)
        assert market.take_silences() == []


def test_quarantined_and_held_trades_are_no_silence() -> None:
    """Trades that are being fetched have not come yet; one that was false is not held any more."""
    later = exchange_candle(candle(volume=2.0, last_trade_id=9, is_closed=False), MIDNIGHT_MS + 90)
    market = market_with_streams(trade(1), later, TradesHeld(), later)
    views_until(market, 20_000)
    assert "trade" not in market.take_silences()

    newer = exchange_candle(candle(volume=2.0, last_trade_id=12, is_closed=False), MIDNIGHT_MS + 95)
    for event in (Quarantined("trade", "the exchange has no trade beyond id 1"), newer):
        market.apply(event, 20_000.0)
    for at_ms in range(20_000, 26_000, 1000):
        view_of(market, float(at_ms))
    assert "trade" in market.take_silences()
