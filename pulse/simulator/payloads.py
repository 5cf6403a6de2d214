"""Binance's spelling of what happens in the simulator: ticks and lots in, the exchange's JSON objects out.

Every number is printed from integers, so a string is exact to its eighth decimal. This file decides nothing.
"""

from collections.abc import Container, Iterator
from typing import Any, NamedTuple

from pulse.simulator.book import LevelLots
from pulse.simulator.candles import Minute, Print
from pulse.simulator.history import MINUTE_MS
from pulse.simulator.instruments import E8, Instrument
from pulse.simulator.market import CUT_MS, BestChange, CandleFrame, Depth, Happening, Traded

JsonObject = dict[str, Any]
PricePairs = list[list[str]]

CUTS_PER_S = 1000 // CUT_MS
REQUEST_WEIGHT_PER_MINUTE = 1200  # what Binance.US documents


class Event(NamedTuple):
    """One message of one stream, as it is told at a moment of the exchange's clock."""

    stream: str
    data: JsonObject
    at_ms: int


def decimal_text(units_e8: int) -> str:
    """An amount in 1e-8 units as the exchange prints it: always eight decimals."""
    return f"{units_e8 // E8}.{units_e8 % E8:08d}"


def price_text(instrument: Instrument, ticks: int) -> str:
    """A price in ticks as text."""
    return decimal_text(ticks * instrument.tick_e8)


def quantity_text(instrument: Instrument, lots: int) -> str:
    """A quantity in lots as text."""
    return decimal_text(lots * instrument.lot_e8)


def quote_text(instrument: Instrument, quote: int) -> str:
    """A sum of ticks times lots as text; exact because a tick times a lot is a whole number of 1e-8."""
    return decimal_text(quote * (instrument.tick_e8 * instrument.lot_e8 // E8))


def level_pairs(instrument: Instrument, levels: tuple[LevelLots, ...]) -> PricePairs:
    """Levels as [price, quantity] pairs of text."""
    tick_e8, lot_e8 = instrument.tick_e8, instrument.lot_e8
    return [[decimal_text(ticks * tick_e8), decimal_text(lots * lot_e8)] for ticks, lots in levels]


def events(instrument: Instrument, happening: Happening, wanted: Container[str] | None) -> Iterator[Event]:
    """The stream messages that a happening makes; with `wanted`, only those of these streams."""
    prefix = instrument.symbol.lower()
    for suffix, build in _BUILDERS[type(happening)]:
        stream = prefix + suffix
        if wanted is not None and stream not in wanted:
            continue
        yield from (Event(stream, data, happening.at_ms) for data in build(instrument, happening))


def kline_row(instrument: Instrument, minute: Minute) -> list[Any]:
    """A candle as a row of GET /api/v3/klines."""
    return [
        minute.open_ms,
        price_text(instrument, minute.open),
        price_text(instrument, minute.high),
        price_text(instrument, minute.low),
        price_text(instrument, minute.close),
        quantity_text(instrument, minute.lots),
        minute.open_ms + MINUTE_MS - 1,
        quote_text(instrument, minute.quote),
        minute.count,
        quantity_text(instrument, minute.taker_buy_lots),
        quote_text(instrument, minute.taker_buy_quote),
        "0",
    ]


def agg_trade_row(instrument: Instrument, trade: Print) -> JsonObject:
    """An aggregate trade as a row of GET /api/v3/aggTrades."""
    return {
        "a": trade.agg_id,
        "p": price_text(instrument, trade.ticks),
        "q": quantity_text(instrument, trade.lots),
        "f": trade.first_trade_id,
        "l": trade.last_trade_id,
        "T": trade.time_ms,
        "m": trade.seller,
        "M": True,
    }


def trade_rows(instrument: Instrument, trade: Print) -> list[JsonObject]:
    """The single trades of an aggregate, as rows of GET /api/v3/trades."""
    return [
        {
            "id": trade.first_trade_id + number,
            "price": price_text(instrument, trade.ticks),
            "qty": quantity_text(instrument, lots),
            "quoteQty": quote_text(instrument, trade.ticks * lots),
            "time": trade.time_ms,
            "isBuyerMaker": trade.seller,
            "isBestMatch": True,
        }
        for number, lots in enumerate(trade.fills)
    ]


def symbol_row(instrument: Instrument, status: str) -> JsonObject:
    """A symbol as GET /api/v3/exchangeInfo lists it."""
    tick, lot = decimal_text(instrument.tick_e8), decimal_text(instrument.lot_e8)
    return {
        "symbol": instrument.symbol,
        "status": status,
        "baseAsset": instrument.base_asset,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote_asset,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "90000000.00000000", "stepSize": lot},
            {"filterType": "MIN_NOTIONAL", "minNotional": "10.00000000", "applyToMarket": True, "avgPriceMins": 5},
        ],
        "permissions": ["SPOT"],
    }


def exchange_info(now_ms: int, symbols: list[JsonObject]) -> JsonObject:
    """The body of GET /api/v3/exchangeInfo."""
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [weight | {"limit": REQUEST_WEIGHT_PER_MINUTE}],
        "exchangeFilters": [],
        "symbols": symbols,
    }


def _best(instrument: Instrument, happening: BestChange) -> Iterator[JsonObject]:
    (bid, bid_quantity), (ask, ask_quantity) = level_pairs(instrument, (happening.bid, happening.ask))
    yield {
        "u": happening.update_id,
        "s": instrument.symbol,
        "b": bid,
        "B": bid_quantity,
        "a": ask,
        "A": ask_quantity,
    }


def _diff(instrument: Instrument, happening: Depth) -> Iterator[JsonObject]:
    if happening.cut is None:
        return
    yield {
        "e": "depthUpdate",
        "E": happening.at_ms,
        "s": instrument.symbol,
        "U": happening.cut.first_update_id,
        "u": happening.cut.final_update_id,
        "b": level_pairs(instrument, happening.cut.bids),
        "a": level_pairs(instrument, happening.cut.asks),
    }


def _partial(instrument: Instrument, happening: Depth) -> Iterator[JsonObject]:
    yield {
        "lastUpdateId": happening.update_id,
        "bids": level_pairs(instrument, happening.bids),
        "asks": level_pairs(instrument, happening.asks),
    }


def _slow_partial(instrument: Instrument, happening: Depth) -> Iterator[JsonObject]:
    if happening.at_ms // CUT_MS % CUTS_PER_S == 0:
        yield from _partial(instrument, happening)


def _agg_trade(instrument: Instrument, happening: Traded) -> Iterator[JsonObject]:
    head = {"e": "aggTrade", "E": happening.at_ms, "s": instrument.symbol}
    yield head | agg_trade_row(instrument, happening.trade)


def _trades(instrument: Instrument, happening: Traded) -> Iterator[JsonObject]:
    for row in trade_rows(instrument, happening.trade):
        yield {
            "e": "trade",
            "E": happening.at_ms,
            "s": instrument.symbol,
            "t": row["id"],
            "p": row["price"],
            "q": row["qty"],
            "T": row["time"],
            "m": row["isBuyerMaker"],
            "M": True,
        }


def _kline(instrument: Instrument, happening: CandleFrame) -> Iterator[JsonObject]:
    minute = happening.minute
    row = kline_row(instrument, minute)
    kline = {
        "t": row[0],
        "T": row[6],
        "s": instrument.symbol,
        "i": "1m",
        "f": minute.first_trade_id,
        "L": minute.last_trade_id,
        "o": row[1],
        "c": row[4],
        "h": row[2],
        "l": row[3],
        "v": row[5],
        "n": row[8],
        "x": happening.closed,
        "q": row[7],
        "V": row[9],
        "Q": row[10],
        "B": "0",
    }
    yield {"e": "kline", "E": happening.at_ms, "s": instrument.symbol, "k": kline}


_BUILDERS: dict[type, tuple[tuple[str, Any], ...]] = {
    BestChange: (("@bookTicker", _best),),
    Depth: (("@depth@100ms", _diff), ("@depth20@100ms", _partial), ("@depth20", _slow_partial)),
    Traded: (("@aggTrade", _agg_trade), ("@trade", _trades)),
    CandleFrame: (("@kline_1m", _kline),),
}
