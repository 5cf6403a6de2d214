"""What a market's view holds: trades, candles, metrics, origin and times."""

import pytest

from pulse.market.types import Aggressor, FeedDown, FeedUp, Instrument, TradeGap, TradesHeld
from pulse.market.view import CandleView, TradeView, WindowView
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle, diff, exchange_candle, ticker, trade
from tests.support.market import anchor, instrument, live_market, market_after, view_of

# --- trades, candles and metrics


def test_trades_are_shown_newest_first_and_once() -> None:
    """The view holds the newest few trades; one that repeats an id, or comes out of order, is left out."""
    market = live_market()
    for trade_id in (1, 2, 3, 3, 2, 4):
        market.apply(trade(trade_id, 100.0 + trade_id, aggressor=Aggressor.SELLER), 1.0)
    view = view_of(market, 1.0)

    assert [t.id for t in view.trades] == [4, 3, 2]
    assert view.trades[0] == TradeView(4, 104.0, 1.0, "seller", MIDNIGHT_MS, 4)
    assert view.metrics.trade_cvd == -4.0


def test_a_session_starts_with_its_first_trade() -> None:
    """CVD and VWAP run since the first trade's exchange time."""
    market = live_market()
    before = view_of(market)
    assert (before.session_start_ms, before.metrics.vwap, before.metrics.trade_cvd) == (0, None, None)

    market.apply(trade(1, 100.0, time_ms=MIDNIGHT_MS + 5), 1.0)
    market.apply(trade(2, 102.0, time_ms=MIDNIGHT_MS + 9), 1.0)
    assert (view_of(market).session_start_ms, view_of(market).metrics.vwap) == (MIDNIGHT_MS + 5, 101.0)


def test_candles_are_built_from_trades_and_the_exchange() -> None:
    """The view holds the live minute and the newest closed one."""
    market = live_market()
    market.apply(trade(1, 100.0, time_ms=MIDNIGHT_MS + 5), 1.0)
    minute = candle(volume=3.0)
    market.apply(exchange_candle(minute, MIDNIGHT_MS + MINUTE_MS + 50), 2.0)
    market.apply(trade(2, 102.0, time_ms=MIDNIGHT_MS + MINUTE_MS + 60), 2.0)
    view = view_of(market, 2.0)

    prices = (100.0, 100.0, 100.0, 100.0)
    volumes = (3.0, minute.quote_volume, minute.taker_buy_volume)
    assert view.closed_candle == CandleView("BTCUSDT", "2024-08-09T00:00:00+00:00", *prices, *volumes, "exchange", True)
    assert view.candle is not None
    assert (view.candle.timestamp, view.candle.close, view.candle.is_closed) == (
        "2024-08-09T00:01:00+00:00", 102.0, False,
    )  # fmt: skip
    assert [c.source for c in market.candles.take_closed()] == ["exchange"]


def test_a_cut_connection_interrupts_the_candles() -> None:
    """After an outage the minute is not whole, unless no trade was missed."""
    market = live_market()
    market.apply(trade(1, 100.0), 1.0)
    market.apply(FeedDown("cut"), 2.0)

    assert view_of(market).candle is None


def test_a_halt_makes_no_candles() -> None:
    """While the exchange says that the symbol does not trade, minutes without a trade are no candles.

    Minute 4 is one: from the trade before it on diffs show that the exchange sends, and no status a halt.
    """
    market = live_market()
    market.apply(exchange_candle(candle(MIDNIGHT_MS - MINUTE_MS), MIDNIGHT_MS), 1.0)
    market.apply(trade(1, 100.0, time_ms=MIDNIGHT_MS + 5), 1.0)
    market.apply(instrument("BREAK"), 2.0)
    market.apply(trade(2, 102.0, time_ms=MIDNIGHT_MS + 2 * MINUTE_MS), 3.0)
    market.apply(instrument("TRADING"), 4.0)
    market.apply(trade(3, 103.0, time_ms=MIDNIGHT_MS + 3 * MINUTE_MS), 5.0)
    for time_ms in range(3 * MINUTE_MS, 5 * MINUTE_MS, 2_000):
        market.apply(diff(1, 1, time_ms=MIDNIGHT_MS + time_ms), 5.5)
    market.apply(trade(4, 104.0, time_ms=MIDNIGHT_MS + 5 * MINUTE_MS), 6.0)
    minutes = [(row.open_time_ms - MIDNIGHT_MS) // MINUTE_MS for row in market.candles.take_closed()]

    assert minutes == [-1, 0, 2, 3, 4]


def test_a_silence_of_all_streams_makes_no_candles() -> None:
    """The symbol may have been halted meanwhile, and no status has shown it."""
    market = live_market()
    market.apply(exchange_candle(candle(MIDNIGHT_MS - MINUTE_MS), MIDNIGHT_MS), 1.0)
    market.apply(trade(1, 100.0, time_ms=MIDNIGHT_MS + 5), 1.0)
    market.apply(trade(2, 102.0, time_ms=MIDNIGHT_MS + 3 * MINUTE_MS), 2.0)
    minutes = [(row.open_time_ms - MIDNIGHT_MS) // MINUTE_MS for row in market.candles.take_closed()]

    assert minutes == [-1, 0]


@pytest.mark.parametrize(("trade_id", "volumes"), [(2, [1.0]), (3, [])])
def test_a_long_silence_interrupts_the_candles(trade_id: int, volumes: list[float]) -> None:
    """Where no stream had a time for long, trades may be lost: the next one's id shows whether any are."""
    market = live_market()
    market.apply(diff(11, 11, time_ms=MIDNIGHT_MS), 1.0)
    market.apply(trade(1, time_ms=MIDNIGHT_MS + 5), 1.0)
    market.apply(diff(12, 12, time_ms=MIDNIGHT_MS + MINUTE_MS + 5_000), 2.0)
    assert (market.candles.take_closed(), market.candles.live()) == ([], None)

    market.apply(trade(trade_id, time_ms=MIDNIGHT_MS + MINUTE_MS + 5_000), 2.0)
    assert [row.volume for row in market.candles.take_closed()] == volumes


def test_sums_over_twenty_levels_need_twenty_known_levels() -> None:
    """Where the window holds fewer, those metrics are None and the depth is marked as a lower bound."""
    known, whole = view_of(live_market()).metrics, view_of(live_market(limit=3)).metrics

    assert (known.cvd, known.imbalance, known.depth_10bps_exact) == (0.0, 0.0, True)
    assert (whole.cvd, whole.imbalance, whole.depth_10bps_exact) == (None, None, False)
    assert whole.queue_imbalance == pytest.approx(0.428571, abs=1e-6)


def test_order_flow_is_summed_from_tickers() -> None:
    """Each bookTicker adds its change of the best levels; a cut connection ends the sum."""
    market = live_market()
    assert view_of(market).metrics.ofi is None
    for update_id, bid in ((1, (100.0, 5.0)), (2, (100.0, 8.0))):
        market.apply(ticker(update_id, bid), update_id * 500.0)
    assert view_of(market, 10_500.0).metrics.ofi == 3.0

    market.apply(FeedDown("cut"), 10_501.0)
    assert view_of(market, 10_501.0).metrics.ofi is None


def test_volatility_is_sampled_while_live() -> None:
    """Each second's view of a live book gives a sample; views of a book that is not live give none."""
    market = live_market()
    for second in range(30):
        view_of(market, second * 1000.0)
    market.apply(FeedDown("cut"), 29_500.0)
    assert view_of(market, 30_000.0).metrics.realised_volatility_bps is None

    market.apply(FeedUp(), 30_500.0)
    market.apply(anchor(20), 30_500.0)
    view_of(market, 31_000.0)
    metrics = view_of(market, 32_000.0).metrics
    assert (metrics.realised_volatility_bps, metrics.realised_volatility) == (0.0, 0.0)


# --- the view


def test_first_view_is_empty() -> None:
    """A view can be made at any time; before the first event nothing is known."""
    view = view_of(market_after())

    assert (view.bids, view.asks, view.trades, view.last_update_id) == ([], [], [], 0)
    assert (view.candle, view.closed_candle, view.instrument) == (None, None, None)
    assert (view.window, view.metrics.mid_price) == (WindowView(None, None, 0, 0), None)


def test_view_has_its_origin_times_and_window() -> None:
    """Origin, sequence, times, window and instrument of a live view."""
    market = live_market(limit=3)
    market.apply(instrument("TRADING"), 0.0)
    market.apply(diff(11, 12, [(99.99, 4.0)], time_ms=MIDNIGHT_MS + 3), 40.0)
    view, after = view_of(market, 100.0), view_of(market, 100.0)

    assert (view.seq, after.seq, view.instance, view.symbol) == (1, 2, "9f3ac21b", "BTCUSDT")
    assert (view.source, view.venue, view.last_update_id) == ("exchange", "us", 12)
    assert (view.timestamp, view.event_time_ms, view.data_age_ms) == (1_700_000_000.25, MIDNIGHT_MS + 3, 60)
    assert view.window == WindowView(99.98, 100.05, 3, 3)
    assert view.instrument == Instrument("BTCUSDT", "BTC", "USDT", "TRADING", 0.01, 0.00001, 2, 5)


def test_the_event_time_is_the_newest() -> None:
    """Event times of different streams come in any order; the view has the latest."""
    market = live_market()
    market.apply(trade(1, time_ms=MIDNIGHT_MS + 900), 1.0)
    market.apply(diff(11, 11, time_ms=MIDNIGHT_MS + 800), 2.0)

    assert view_of(market).event_time_ms == MIDNIGHT_MS + 900


def test_view_shows_twenty_levels_a_side() -> None:
    """Of a deep book the best twenty are shown."""
    bids = [(100.0 - i, 1.0) for i in range(30)]
    view = view_of(market_after(FeedUp(), anchor(10, bids=bids)))

    assert view.bids == [(100.0 - i, 1.0) for i in range(20)]


def test_a_session_begins_anew_at_midnight() -> None:
    """At 00:00 UTC by the trades' own time the sums start from zero."""
    market = live_market()
    day_ms = 24 * 60 * MINUTE_MS
    market.apply(trade(1, 100.0, 2.0, MIDNIGHT_MS + 5), 0.0)
    market.apply(trade(2, 101.0, 1.0, MIDNIGHT_MS + day_ms - 1), 0.0)
    before = view_of(market)
    market.apply(trade(3, 102.0, 0.5, MIDNIGHT_MS + day_ms + 7), 0.0)
    after = view_of(market)

    assert (before.session_start_ms, before.metrics.trade_cvd) == (MIDNIGHT_MS + 5, 3.0)
    assert (after.session_start_ms, after.metrics.trade_cvd, after.metrics.vwap) == (MIDNIGHT_MS + day_ms, 0.5, 102.0)


def test_a_session_begins_anew_after_lost_trades() -> None:
    """A sum that lacks trades is wrong: each sum has all trades since the session start that goes with it."""
    market = live_market()
    market.apply(trade(1, 100.0, 3.0, MIDNIGHT_MS + 5), 1.0)
    market.apply(TradesHeld(), 2.0)
    held = view_of(market)
    market.apply(TradeGap("BTCUSDT", 2, 3, MIDNIGHT_MS + 5, MIDNIGHT_MS + 9, MIDNIGHT_MS + 10), 3.0)
    lost = view_of(market)
    market.apply(trade(4, 102.0, 0.5, MIDNIGHT_MS + 9), 3.0)
    after = view_of(market)

    assert (held.session_start_ms, held.metrics.trade_cvd) == (MIDNIGHT_MS + 5, 3.0)
    assert (lost.session_start_ms, lost.metrics.trade_cvd, lost.metrics.vwap) == (0, None, None)
    assert (after.session_start_ms, after.metrics.trade_cvd, after.metrics.vwap) == (MIDNIGHT_MS + 9, 0.5, 102.0)


def test_trades_view_goes_with_the_newest_view() -> None:
    """It has its sequence number, oldest trade first, and there is one only when there are new trades."""
    market = live_market()
    market.apply(trade(1), 0.0)
    market.apply(trade(2), 0.0)
    waiting_before = market.trades_waiting
    view, trades_view, again = view_of(market), market.trades_view(), market.trades_view()

    assert trades_view is not None
    assert (waiting_before, market.trades_waiting) == (2, 0)
    assert (trades_view.seq, [entry.id for entry in trades_view.trades]) == (view.seq, [1, 2])
    assert again is None
