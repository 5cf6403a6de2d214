"""The whole simulated exchange in virtual time: several markets, their merged events, the REST views, and the truth.

It is pure: no loop, no clock, no I/O. One seed, one start and one list of symbols make one session, whatever the size
of the steps in which it is lived. Sockets, weights and faults are the server's.
"""

from collections.abc import Container, Iterable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from pulse.simulator import payloads
from pulse.simulator.book import ASK, BID, LevelLots
from pulse.simulator.instruments import INSTRUMENTS, STATUS_BREAK, STATUS_TRADING, Instrument
from pulse.simulator.market import MINUTES_KEPT, Market
from pulse.simulator.payloads import Event, JsonObject, PricePairs

TRUTH_LEVELS = 20


class Truth(NamedTuple):
    """A book as it truly was after the change `update_id`; levels best first, prices and quantities as text."""

    update_id: int
    bids: PricePairs
    asks: PricePairs


class Exchange:
    """Markets that live up to `now_ms`. Views and truth are of that moment; an unlisted symbol is a KeyError."""

    def __init__(
        self, symbols: Iterable[str], seed: int, start_ms: int, known: Mapping[str, Instrument] = INSTRUMENTS
    ) -> None:
        """ValueError names the symbols that are not among the `known` ones."""
        symbols = tuple(dict.fromkeys(symbols))
        if unknown := [symbol for symbol in symbols if symbol not in known]:
            raise ValueError(f"the simulator knows {', '.join(known)}; not {', '.join(unknown)}")
        self.now_ms = start_ms
        self._statuses = dict.fromkeys(symbols, STATUS_TRADING)
        self._markets = {
            symbol: Market(known[symbol], seed, start_ms, phase=number) for number, symbol in enumerate(symbols)
        }

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols it lists, in the order given."""
        return tuple(self._markets)

    def advance(self, to_ms: int, wanted: Container[str] | None = None) -> list[Event]:
        """Live up to a time, that millisecond included; give the events since then in order, of `wanted` streams."""
        told: list[tuple[int, Instrument, Any]] = []
        for market in self._markets.values():
            told.extend((h.at_ms, market.instrument, h) for h in market.advance(to_ms))
        self.now_ms = max(self.now_ms, to_ms)
        told.sort(key=itemgetter(0))  # stable: within a millisecond, symbol after symbol
        return [event for _, instrument, h in told for event in payloads.events(instrument, h, wanted)]

    def set_status(self, symbol: str, status: str) -> None:
        """Change a symbol's trading status; BREAK stops its orders, so that its streams fall silent."""
        self._statuses[symbol] = status
        self._markets[symbol].trading = status != STATUS_BREAK

    def news(self, symbol: str, share: float) -> None:
        """Something happens that makes a symbol worth this share more, or less; its orders follow as they come."""
        self._markets[symbol].news(share)

    # the REST views

    def depth(self, symbol: str, limit: int, lag_ms: int = 0) -> JsonObject:
        """A depth snapshot, now or as it was at the end of a diff some time ago (as long ago as is remembered)."""
        market = self._markets[symbol]
        book = market.book
        update_id = book.update_id
        if lag_ms > 0:
            kept = [(at_ms, final_id) for at_ms, final_id in market.cuts if final_id >= book.oldest_id]
            old = [final_id for at_ms, final_id in kept if at_ms <= self.now_ms - lag_ms]
            update_id = old[-1] if old else book.oldest_id
        truth = self.truth_at(symbol, update_id, limit)
        if truth is None:  # a remembered end of a diff is never out of reach
            raise LookupError(f"expected {symbol} at {update_id} to be remembered")
        return {"lastUpdateId": truth.update_id, "bids": truth.bids, "asks": truth.asks}

    def klines(
        self, symbol: str, start_ms: int | None = None, end_ms: int | None = None, limit: int = MINUTES_KEPT
    ) -> list[list[Any]]:
        """One-minute candles, the live one last: from `start_ms` on the oldest ones, without it the newest."""
        market = self._markets[symbol]
        minutes = [
            minute
            for minute in (*market.minutes, market.minute)
            if (start_ms is None or minute.open_ms >= start_ms) and (end_ms is None or minute.open_ms <= end_ms)
        ]
        chosen = minutes[-limit:] if start_ms is None else minutes[:limit]
        return [payloads.kline_row(market.instrument, minute) for minute in chosen]

    def agg_trades(
        self,
        symbol: str,
        *,
        from_id: int | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 500,
    ) -> list[JsonObject]:
        """Aggregate trades: from an id on, or within times (both included), or the newest."""
        market = self._markets[symbol]
        if from_id is None and start_ms is not None:
            from_id = market.agg_id_at(start_ms)
        if from_id is None:
            from_id = (market.next_agg_id if end_ms is None else market.agg_id_at(end_ms + 1)) - limit
        found = market.prints_from(from_id, limit)
        return [
            payloads.agg_trade_row(market.instrument, trade)
            for trade in found
            if end_ms is None or trade.time_ms <= end_ms
        ]

    def trades(self, symbol: str, limit: int) -> list[JsonObject]:
        """The newest single trades."""
        market = self._markets[symbol]
        # An aggregate is at least one trade, so this many aggregates are enough.
        found = market.prints_from(market.next_agg_id - limit, limit)
        rows = [row for trade in found for row in payloads.trade_rows(market.instrument, trade)]
        return rows[-limit:]

    def exchange_info(self, symbols: Iterable[str] | None = None) -> JsonObject:
        """The listing of some symbols, of all without a choice."""
        chosen = self._markets if symbols is None else symbols
        rows = [payloads.symbol_row(self._markets[s].instrument, self._statuses[s]) for s in chosen]
        return payloads.exchange_info(self.now_ms, rows)

    def prices(self) -> list[JsonObject]:
        """Every symbol with a price of it, the best bid's."""
        return [
            {"symbol": symbol, "price": price}
            for symbol, market in self._markets.items()
            for price, _ in payloads.level_pairs(market.instrument, market.book.top(BID, 1))
        ]

    # the truth, for those who check

    def truth(self, symbol: str) -> Truth:
        """The whole book now."""
        market = self._markets[symbol]
        bids, asks = (market.book.top(side, len(market.book.sides[side].keys)) for side in (BID, ASK))
        return _truth(market.instrument, market.book.update_id, bids, asks)

    def truth_at(self, symbol: str, update_id: int, levels: int = TRUTH_LEVELS) -> Truth | None:
        """The best levels as they were after a change; None when it is forgotten or still to come."""
        market = self._markets[symbol]
        found = market.book.at(update_id, levels)
        return _truth(market.instrument, update_id, *found) if found is not None else None


def _truth(instrument: Instrument, update_id: int, bids: tuple[LevelLots, ...], asks: tuple[LevelLots, ...]) -> Truth:
    pairs = (payloads.level_pairs(instrument, levels) for levels in (bids, asks))
    return Truth(update_id, *pairs)
