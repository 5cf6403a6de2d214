"""The symbols of the simulator: real price and quantity steps, plausible prices, and how busy each market is.

Amounts are integers everywhere inside the simulator: prices in ticks, quantities in lots, and both steps in units of
1e-8, the resolution of the exchange's eight decimals. Knows no book and no order.
"""

from dataclasses import dataclass
from decimal import Decimal

E8 = 100_000_000  # the exchange prints eight decimals

STATUS_TRADING = "TRADING"
STATUS_BREAK = "BREAK"  # planned: the exchange sends no market data
STATUS_HALT = "HALT"  # emergency: market data goes on


@dataclass(frozen=True, slots=True)
class SimulatedInstrument:
    """One symbol. Steps are in 1e-8 units; `changes_per_s` is how often its book changes in calm times."""

    symbol: str
    base_asset: str
    quote_asset: str
    tick_e8: int
    lot_e8: int
    start_ticks: int  # the price at which the live session begins
    order_lots: int  # the median size of an order
    changes_per_s: float
    levels: int  # levels a side that the order flow keeps
    # Where the live session's ids start: far apart and far from small numbers, so that a mix-up is visible.
    first_agg_id: int
    first_trade_id: int
    first_update_id: int


def _instrument(
    pair: str, price: str, steps: tuple[str, str], order: str, pace: tuple[float, int]
) -> SimulatedInstrument:
    base, quote = pair.split("/")
    tick_e8, lot_e8 = (int(Decimal(step) * E8) for step in steps)
    return SimulatedInstrument(
        symbol=base + quote,
        base_asset=base,
        quote_asset=quote,
        tick_e8=tick_e8,
        lot_e8=lot_e8,
        start_ticks=int(Decimal(price) * E8) // tick_e8,
        order_lots=int(Decimal(order) * E8) // lot_e8,
        changes_per_s=pace[0],
        levels=pace[1],
        first_agg_id=1_000_000_000 + 3_000_017 * sum(base.encode()),
        first_trade_id=3_000_000_000 + 7_000_003 * sum(base.encode()),
        first_update_id=40_000_000_000 + 60_000_011 * sum(base.encode()),
    )


INSTRUMENTS: dict[str, SimulatedInstrument] = {
    instrument.symbol: instrument
    for instrument in (
        # pair, first price, (tick, lot), median order, (book changes a second, levels a side)
        _instrument("BTC/USDT", "61837.63", ("0.01", "0.00001"), "0.018", (120.0, 3000)),
        _instrument("ETH/USDT", "2683.41", ("0.01", "0.0001"), "0.32", (80.0, 2500)),
        _instrument("SOL/USDT", "157.28", ("0.01", "0.001"), "4.2", (55.0, 1500)),
        _instrument("BNB/USDT", "583.40", ("0.01", "0.001"), "0.9", (40.0, 1500)),
        _instrument("XRP/USDT", "0.6127", ("0.0001", "0.1"), "750", (40.0, 1200)),
        _instrument("ADA/USDT", "0.3489", ("0.0001", "0.1"), "900", (40.0, 800)),
        _instrument("DOGE/USDT", "0.10473", ("0.00001", "1"), "3500", (35.0, 1200)),
        _instrument("LINK/USDT", "10.87", ("0.01", "0.01"), "28", (30.0, 500)),
        _instrument("AVAX/USDT", "24.31", ("0.01", "0.01"), "12", (30.0, 600)),
        _instrument("LTC/USDT", "63.52", ("0.01", "0.001"), "3.5", (25.0, 600)),
    )
}
