"""The exchange's JSON for the simulator's events: ticks and lots in, Binance's objects out.

Every number is printed from integers, so the text is exact to the eighth decimal. No decisions are made here.
"""

from collections.abc import Container, Iterator, Sequence
from typing import Any, NamedTuple

from pulse.simulator.book import LevelLots
from pulse.simulator.candles import AggregateTrade, MinuteCandle
from pulse.simulator.history import MINUTE_MS
from pulse.simulator.instruments import E8, SimulatedInstrument
from pulse.simulator.market import DIFF_MS, BestPriceChange, CandleUpdate, DepthUpdate, MarketEvent, TradeMade

JsonObject = dict[str, Any]
PricePairs = list[list[str]]

DAY_MS = 86_400_000
DIFFS_PER_S = 1000 // DIFF_MS
REQUEST_WEIGHT_PER_MINUTE = 1200  # what Binance.US documents


class StreamEvent(NamedTuple):
    """One message of one stream at a time of the exchange's clock."""

    stream: str
    data: JsonObject
    at_ms: int


def decimal_text(units_e8: int) -> str:
    """Return an amount in 1e-8 units as the exchange prints it: always eight decimals."""
    return f"{units_e8 // E8}.{units_e8 % E8:08d}"


def price_text(instrument: SimulatedInstrument, ticks: int) -> str:
    """Return a price in ticks as text."""
    return decimal_text(ticks * instrument.tick_e8)


def quantity_text(instrument: SimulatedInstrument, lots: int) -> str:
    """Return a quantity in lots as text."""
    return decimal_text(lots * instrument.lot_e8)


def quote_text(instrument: SimulatedInstrument, quote: int) -> str:
    """Return a sum of ticks times lots as text; exact because a tick times a lot is a whole number of 1e-8."""
    return decimal_text(quote * (instrument.tick_e8 * instrument.lot_e8 // E8))


def level_pairs(instrument: SimulatedInstrument, levels: tuple[LevelLots, ...]) -> PricePairs:
    """Return levels as [price, quantity] pairs of text."""
    tick_e8, lot_e8 = instrument.tick_e8, instrument.lot_e8
    return [[decimal_text(ticks * tick_e8), decimal_text(lots * lot_e8)] for ticks, lots in levels]


def stream_events(
    instrument: SimulatedInstrument, event: MarketEvent, streams: Container[str] | None
) -> Iterator[StreamEvent]:
    """Yield the stream messages of a market event; with `streams`, only those streams."""
    prefix = instrument.symbol.lower()
    for suffix, build in _BUILDERS[type(event)]:
        stream = prefix + suffix
        if streams is not None and stream not in streams:
            continue
        yield from (StreamEvent(stream, data, event.at_ms) for data in build(instrument, event))


def kline_row(instrument: SimulatedInstrument, candle: MinuteCandle) -> list[Any]:
    """Return a candle as a row of GET /api/v3/klines."""
    return [
        candle.open_ms,
        price_text(instrument, candle.open),
        price_text(instrument, candle.high),
        price_text(instrument, candle.low),
        price_text(instrument, candle.close),
        quantity_text(instrument, candle.lots),
        candle.open_ms + MINUTE_MS - 1,
        quote_text(instrument, candle.quote),
        candle.count,
        quantity_text(instrument, candle.taker_buy_lots),
        quote_text(instrument, candle.taker_buy_quote),
        "0",
    ]


def day_ticker_row(instrument: SimulatedInstrument, candles: Sequence[MinuteCandle], now_ms: int) -> JsonObject:
    """Return the traded minutes of a day as a row of GET /api/v3/ticker/24hr; zeros without any."""
    first, last = (candles[0].open, candles[-1].close) if candles else (0, 0)
    lots, quote = sum(candle.lots for candle in candles), sum(candle.quote for candle in candles)
    change = 100 * (last - first) / first if first else 0.0
    return {
        "symbol": instrument.symbol,
        "priceChange": ("-" if last < first else "") + price_text(instrument, abs(last - first)),
        "priceChangePercent": f"{change:.3f}",
        "openPrice": price_text(instrument, first),
        "highPrice": price_text(instrument, max((candle.high for candle in candles), default=0)),
        "lowPrice": price_text(instrument, min((candle.low for candle in candles), default=0)),
        "lastPrice": price_text(instrument, last),
        "volume": quantity_text(instrument, lots),
        "quoteVolume": quote_text(instrument, quote),
        "openTime": now_ms - DAY_MS,
        "closeTime": now_ms,
        "firstId": candles[0].first_trade_id if candles else -1,
        "lastId": candles[-1].last_trade_id if candles else -1,
        "count": sum(candle.count for candle in candles),
    }


def agg_trade_row(instrument: SimulatedInstrument, trade: AggregateTrade) -> JsonObject:
    """Return an aggregate trade as a row of GET /api/v3/aggTrades."""
    return {
        "a": trade.agg_id,
        "p": price_text(instrument, trade.ticks),
        "q": quantity_text(instrument, trade.lots),
        "f": trade.first_trade_id,
        "l": trade.last_trade_id,
        "T": trade.time_ms,
        "m": trade.taker_sold,
        "M": True,
    }


def trade_rows(instrument: SimulatedInstrument, trade: AggregateTrade) -> list[JsonObject]:
    """Return the single trades of an aggregate as rows of GET /api/v3/trades."""
    return [
        {
            "id": trade.first_trade_id + number,
            "price": price_text(instrument, trade.ticks),
            "qty": quantity_text(instrument, lots),
            "quoteQty": quote_text(instrument, trade.ticks * lots),
            "time": trade.time_ms,
            "isBuyerMaker": trade.taker_sold,
            "isBestMatch": True,
        }
        for number, lots in enumerate(trade.fills)
    ]


def symbol_row(instrument: SimulatedInstrument, status: str) -> JsonObject:
    """Return a symbol as GET /api/v3/exchangeInfo lists it."""
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
    """Return the body of GET /api/v3/exchangeInfo."""
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [weight | {"limit": REQUEST_WEIGHT_PER_MINUTE}],
        "exchangeFilters": [],
        "symbols": symbols,
    }


def _book_ticker(instrument: SimulatedInstrument, event: BestPriceChange) -> Iterator[JsonObject]:
    (bid, bid_quantity), (ask, ask_quantity) = level_pairs(instrument, (event.bid, event.ask))
    yield {
        "u": event.update_id,
        "s": instrument.symbol,
        "b": bid,
        "B": bid_quantity,
        "a": ask,
        "A": ask_quantity,
    }


def _depth_diff(instrument: SimulatedInstrument, event: DepthUpdate) -> Iterator[JsonObject]:
    if event.diff is None:
        return
    yield {
        "e": "depthUpdate",
        "E": event.at_ms,
        "s": instrument.symbol,
        "U": event.diff.first_update_id,
        "u": event.diff.final_update_id,
        "b": level_pairs(instrument, event.diff.bids),
        "a": level_pairs(instrument, event.diff.asks),
    }


def _partial_depth(instrument: SimulatedInstrument, event: DepthUpdate) -> Iterator[JsonObject]:
    yield {
        "lastUpdateId": event.update_id,
        "bids": level_pairs(instrument, event.bids),
        "asks": level_pairs(instrument, event.asks),
    }


def _slow_partial_depth(instrument: SimulatedInstrument, event: DepthUpdate) -> Iterator[JsonObject]:
    if event.at_ms // DIFF_MS % DIFFS_PER_S == 0:
        yield from _partial_depth(instrument, event)


def _agg_trade(instrument: SimulatedInstrument, event: TradeMade) -> Iterator[JsonObject]:
    head = {"e": "aggTrade", "E": event.at_ms, "s": instrument.symbol}
    yield head | agg_trade_row(instrument, event.trade)


def _trades(instrument: SimulatedInstrument, event: TradeMade) -> Iterator[JsonObject]:
    for row in trade_rows(instrument, event.trade):
        yield {
            "e": "trade",
            "E": event.at_ms,
            "s": instrument.symbol,
            "t": row["id"],
            "p": row["price"],
            "q": row["qty"],
            "T": row["time"],
            "m": row["isBuyerMaker"],
            "M": True,
        }


def _kline(instrument: SimulatedInstrument, event: CandleUpdate) -> Iterator[JsonObject]:
    candle = event.candle
    row = kline_row(instrument, candle)
    kline = {
        "t": row[0],
        "T": row[6],
        "s": instrument.symbol,
        "i": "1m",
        "f": candle.first_trade_id,
        "L": candle.last_trade_id,
        "o": row[1],
        "c": row[4],
        "h": row[2],
        "l": row[3],
        "v": row[5],
        "n": row[8],
        "x": event.closed,
        "q": row[7],
        "V": row[9],
        "Q": row[10],
        "B": "0",
    }
    yield {"e": "kline", "E": event.at_ms, "s": instrument.symbol, "k": kline}


_BUILDERS: dict[type, tuple[tuple[str, Any], ...]] = {
    BestPriceChange: (("@bookTicker", _book_ticker),),
    DepthUpdate: (("@depth@100ms", _depth_diff), ("@depth20@100ms", _partial_depth), ("@depth20", _slow_partial_depth)),
    TradeMade: (("@aggTrade", _agg_trade), ("@trade", _trades)),
    CandleUpdate: (("@kline_1m", _kline),),
}
