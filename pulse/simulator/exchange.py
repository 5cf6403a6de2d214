"""The simulated exchange in virtual time: several markets, their merged events, the REST views and the exact books.

Pure: no loop, no clock, no I/O. One seed, one start and one list of symbols produce one session, whatever the size of
the steps it is advanced in. Sockets, request weights and faults belong to `server`.
"""

from collections.abc import Container, Iterable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from pulse.simulator import payloads
from pulse.simulator.book import ASK, BID, LevelLots
from pulse.simulator.history import MINUTE_MS
from pulse.simulator.instruments import INSTRUMENTS, STATUS_BREAK, STATUS_TRADING, SimulatedInstrument
from pulse.simulator.market import DEFAULT_RETENTION, Retention, SimulatedMarket
from pulse.simulator.payloads import JsonObject, PricePairs, StreamEvent

BOOK_LEVELS = 20


class BookState(NamedTuple):
    """A book exactly as it was after the change `update_id`; levels best first, prices and quantities as text."""

    update_id: int
    bids: PricePairs
    asks: PricePairs


class Exchange:
    """Markets advanced up to `now_ms`. Views and books are of that moment; an unlisted symbol raises KeyError."""

    def __init__(
        self, symbols: Iterable[str], seed: int, start_ms: int, known: Mapping[str, SimulatedInstrument] = INSTRUMENTS,
        retention: Retention = DEFAULT_RETENTION,
    ) -> None:  # fmt: skip
        """Raise ValueError, naming them, when symbols are not among the `known` ones."""
        symbols = tuple(dict.fromkeys(symbols))
        if unknown := [symbol for symbol in symbols if symbol not in known]:
            raise ValueError(f"expected symbols among {', '.join(known)}, not {', '.join(unknown)}")
        self.now_ms = start_ms
        self.candles_max = retention.candles + 1  # the live one included
        self._statuses = dict.fromkeys(symbols, STATUS_TRADING)
        self._markets = {
            symbol: SimulatedMarket(known[symbol], seed, start_ms, number, retention)
            for number, symbol in enumerate(symbols)
        }

    @property
    def symbols(self) -> tuple[str, ...]:
        """The listed symbols, in the order given."""
        return tuple(self._markets)

    def advance(self, to_ms: int, streams: Container[str] | None = None) -> list[StreamEvent]:
        """Advance to a time, inclusive, and return the events since then in order; with `streams`, only of those."""
        timed: list[tuple[int, SimulatedInstrument, Any]] = []
        for market in self._markets.values():
            timed.extend((event.at_ms, market.instrument, event) for event in market.advance(to_ms))
        self.now_ms = max(self.now_ms, to_ms)
        timed.sort(key=itemgetter(0))  # stable: within a millisecond, symbol after symbol
        return [event for _, instrument, event in timed for event in payloads.stream_events(instrument, event, streams)]

    def set_status(self, symbol: str, status: str) -> None:
        """Change a symbol's trading status; BREAK stops its orders, so that its streams go silent."""
        self._statuses[symbol] = status
        self._markets[symbol].trading = status != STATUS_BREAK

    def shift_value(self, symbol: str, share: float) -> None:
        """Change a symbol's fair value by this share; its orders follow one by one."""
        self._markets[symbol].shift_value(share)

    # REST views

    def depth(self, symbol: str, limit: int, lag_ms: int = 0) -> JsonObject:
        """Return a depth snapshot, current or as of the end of a diff `lag_ms` ago (as far back as is kept)."""
        market = self._markets[symbol]
        book = market.book
        update_id = book.update_id
        if lag_ms > 0:
            kept = [(at_ms, final_id) for at_ms, final_id in market.diff_ends if final_id >= book.oldest_id]
            old = [final_id for at_ms, final_id in kept if at_ms <= self.now_ms - lag_ms]
            update_id = old[-1] if old else book.oldest_id
        state = self.book_at(symbol, update_id, limit)
        if state is None:  # the kept end of a diff is always within the kept changes
            raise LookupError(f"expected the book of {symbol} at {update_id} to be kept")
        return {"lastUpdateId": state.update_id, "bids": state.bids, "asks": state.asks}

    def klines(
        self, symbol: str, start_ms: int | None = None, end_ms: int | None = None, limit: int | None = None
    ) -> list[list[Any]]:
        """Return one-minute candles, the live one last: from `start_ms` on the oldest, without it the newest."""
        market = self._markets[symbol]
        candles = [
            candle
            for candle in (*market.closed_candles, market.live_candle)
            if (start_ms is None or candle.open_ms >= start_ms) and (end_ms is None or candle.open_ms <= end_ms)
        ]
        limit = self.candles_max if limit is None else limit
        selected = candles[-limit:] if start_ms is None else candles[:limit]
        return [payloads.kline_row(market.instrument, candle) for candle in selected]

    def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 500,
    ) -> list[JsonObject]:
        """Return aggregate trades: from an id on, or within times (both inclusive), or the newest."""
        market = self._markets[symbol]
        if from_id is None and start_ms is not None:
            from_id = market.agg_id_at(start_ms)
        if from_id is None:
            from_id = (market.next_agg_id if end_ms is None else market.agg_id_at(end_ms + 1)) - limit
        found = market.agg_trades_from(from_id, limit)
        return [
            payloads.agg_trade_row(market.instrument, trade)
            for trade in found
            if end_ms is None or trade.time_ms <= end_ms
        ]

    def trades(self, symbol: str, limit: int) -> list[JsonObject]:
        """Return the newest single trades."""
        market = self._markets[symbol]
        # An aggregate holds at least one trade, so this many aggregates are enough.
        found = market.agg_trades_from(market.next_agg_id - limit, limit)
        rows = [row for trade in found for row in payloads.trade_rows(market.instrument, trade)]
        return rows[-limit:]

    def exchange_info(self, symbols: Iterable[str] | None = None) -> JsonObject:
        """Return the listing of some symbols, of all by default."""
        selected = self._markets if symbols is None else symbols
        rows = [payloads.symbol_row(self._markets[s].instrument, self._statuses[s]) for s in selected]
        return payloads.exchange_info(self.now_ms, rows)

    def prices(self) -> list[JsonObject]:
        """Return every symbol with its best bid as the price."""
        return [
            {"symbol": symbol, "price": price}
            for symbol, market in self._markets.items()
            for price, _ in payloads.level_pairs(market.instrument, market.book.top(BID, 1))
        ]

    def day_tickers(self, symbols: Iterable[str]) -> list[JsonObject]:
        """Return the last 24 hours of some symbols, by whole minutes: the window begins with the minute it cuts."""
        rows = []
        for symbol in symbols:
            market = self._markets[symbol]
            since_ms = self.now_ms - payloads.DAY_MS
            candles = [
                candle
                for candle in (*market.closed_candles, market.live_candle)
                if candle.open_ms > since_ms - MINUTE_MS and candle.count
            ]
            rows.append(payloads.day_ticker_row(market.instrument, candles, self.now_ms))
        return rows

    # exact books, for checks

    def book(self, symbol: str) -> BookState:
        """Return the whole current book."""
        market = self._markets[symbol]
        bids, asks = (market.book.top(side, len(market.book.sides[side].keys)) for side in (BID, ASK))
        return _book_state(market.instrument, market.book.update_id, bids, asks)

    def book_at(self, symbol: str, update_id: int, levels: int = BOOK_LEVELS) -> BookState | None:
        """Return the best levels as they were after a change; None when the id is too old or in the future."""
        market = self._markets[symbol]
        found = market.book.levels_at(update_id, levels)
        return _book_state(market.instrument, update_id, *found) if found is not None else None


def _book_state(
    instrument: SimulatedInstrument, update_id: int, bids: tuple[LevelLots, ...], asks: tuple[LevelLots, ...]
) -> BookState:
    pairs = (payloads.level_pairs(instrument, levels) for levels in (bids, asks))
    return BookState(update_id, *pairs)
