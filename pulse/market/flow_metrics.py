"""Running metrics of the streams: order-flow imbalance, sums over trades, volatility. Time is an argument.

Formulas: order-flow imbalance is Cont, Kukanov & Stoikov 2014, fed by every change of the best levels; realised
volatility is the root of summed squared log returns of the mid, sampled each second (Andersen & Bollerslev 1998);
the trade rate is an exponentially decayed count.
"""

from collections import deque
from math import exp, log, sqrt

from pulse.market.types import Aggressor, BookTicker, Price, Quantity, Trade

OFI_WINDOW_MS = 10_000
OFI_BUCKET_MS = 250
"""Changes are summed in buckets of this length, so that the window moves in such steps."""
RATE_TAU_S = 10.0
"""Time constant of the trade rate's decay."""
VOLATILITY_SAMPLE_MS = 1_000
VOLATILITY_SAMPLES = 300
VOLATILITY_SAMPLES_MIN = 30
"""Fewer returns than this are too few for an estimate: the value is None."""
YEAR_S = 365 * 24 * 3600


def order_flow_imbalance(before: BookTicker, after: BookTicker) -> Quantity:
    """Return the signed change of the best levels between two states: positive where buying interest grew."""
    change = 0.0
    if after.bid_price >= before.bid_price:
        change += after.bid_quantity
    if after.bid_price <= before.bid_price:
        change -= before.bid_quantity
    if after.ask_price <= before.ask_price:
        change -= after.ask_quantity
    if after.ask_price >= before.ask_price:
        change += before.ask_quantity
    return change


class OrderFlowImbalance:
    """The sum of order-flow imbalance over the last OFI_WINDOW_MS."""

    def __init__(self) -> None:
        self._buckets: deque[tuple[int, float]] = deque(maxlen=OFI_WINDOW_MS // OFI_BUCKET_MS + 1)
        self._last: BookTicker | None = None
        self._since_ms = 0.0

    def restart(self) -> None:
        """Start anew after a lost connection: what changed between the tickers around the gap was not seen."""
        self._last = None

    def add(self, ticker: BookTicker, now_ms: float) -> None:
        """Add the next state of the best levels; a repeated or older one is ignored."""
        before = self._last
        if before is not None and ticker.update_id <= before.update_id:
            return
        self._last = ticker
        if before is None:
            self._since_ms = now_ms
            self._buckets.clear()
            return
        bucket = int(now_ms // OFI_BUCKET_MS)
        change = order_flow_imbalance(before, ticker)
        if self._buckets and self._buckets[-1][0] == bucket:
            change += self._buckets.pop()[1]
        self._buckets.append((bucket, change))

    def value(self, now_ms: float) -> Quantity | None:
        """Return the sum over the window that ends now; None until every change of such a window was seen."""
        if self._last is None or now_ms - self._since_ms < OFI_WINDOW_MS:
            return None
        oldest = int((now_ms - OFI_WINDOW_MS) // OFI_BUCKET_MS)
        while self._buckets and self._buckets[0][0] <= oldest:
            self._buckets.popleft()
        return sum([change for _, change in self._buckets])

    def parts(self, value: Quantity | None) -> tuple[Quantity, Quantity]:
        """Return the buckets that raise and that lower the sum `value`, each summed without its sign."""
        if value is None:
            return 0.0, 0.0
        up = sum([change for _, change in self._buckets if change > 0])
        return up, up - value


class TradeFlow:
    """Sums over the trades since the session's start: CVD and VWAP; and the trade rate, which knows no session."""

    def __init__(self) -> None:
        self._cvd: Quantity = 0.0
        self._volume: Quantity = 0.0
        self._notional = 0.0
        self._rate = 0.0
        self._rate_at_ms = 0.0

    def restart(self) -> None:
        """Start a new session: the sums begin at zero, the rate goes on."""
        self._cvd = self._volume = self._notional = 0.0

    def add(self, trade: Trade, now_ms: float) -> None:
        """Add the next trade. A repaired one did not happen now, so it does not count in the rate."""
        if not trade.is_market:
            return
        self._cvd += trade.quantity if trade.aggressor is Aggressor.BUYER else -trade.quantity
        self._volume += trade.quantity
        self._notional += trade.price * trade.quantity
        if trade.is_repaired:
            return
        self._rate = self.rate(now_ms) + 1 / RATE_TAU_S
        self._rate_at_ms = now_ms

    def cvd(self) -> Quantity | None:
        """Return buyer-initiated minus seller-initiated volume; None before the first trade."""
        return self._cvd if self._volume else None

    def vwap(self) -> Price | None:
        """Return the volume-weighted mean price; None before the first trade."""
        return self._notional / self._volume if self._volume else None

    def sums(self) -> tuple[Quantity, float]:
        """Return the session's volume in base and in quote."""
        return self._volume, self._notional

    def rate_basis(self, now_ms: float) -> tuple[float, float]:
        """Return the rate after the last trade that counts, and how many seconds ago that was."""
        return self._rate, max(0.0, now_ms - self._rate_at_ms) / 1000

    def rate(self, now_ms: float) -> float:
        """Return trades per second, decayed with a time constant of RATE_TAU_S."""
        rate, age_s = self.rate_basis(now_ms)
        return rate * exp(-age_s / RATE_TAU_S)


class Volatility:
    """Realised volatility of the mid over the last VOLATILITY_SAMPLES seconds."""

    def __init__(self) -> None:
        self._squares: deque[float] = deque(maxlen=VOLATILITY_SAMPLES)
        self._mid: Price | None = None
        self._second = 0
        self._variance = 0.0

    def restart(self) -> None:
        """Start anew after the book was not live: the move across the gap is not a one-second return."""
        self._mid = None

    def sample(self, mid: Price, now_ms: float) -> None:
        """Take the current mid. The first of each second is its sample; seconds without one repeat the last."""
        second = int(now_ms // VOLATILITY_SAMPLE_MS)
        if self._mid is None:
            self._mid, self._second = mid, second
            return
        elapsed = second - self._second
        if elapsed <= 0:
            return
        self._squares.extend([0.0] * min(elapsed - 1, VOLATILITY_SAMPLES))
        self._squares.append(log(mid / self._mid) ** 2)
        self._variance = sum(self._squares)
        self._mid, self._second = mid, second

    def measured_s(self) -> int | None:
        """Return over how many seconds the estimates are: fewer than the window soon after a start; None before any."""
        samples = len(self._squares)
        return None if samples < VOLATILITY_SAMPLES_MIN else samples * VOLATILITY_SAMPLE_MS // 1000

    def sums(self) -> tuple[float, int]:
        """Return the sum of squared returns over the window, and their number."""
        return self._variance, len(self._squares)

    def bps(self) -> float | None:
        """Return the root of summed squared returns over the window, in basis points; None while samples are few."""
        if len(self._squares) < VOLATILITY_SAMPLES_MIN:
            return None
        return 1e4 * sqrt(self._variance)

    def percent_per_year(self) -> float | None:
        """Return the same scaled to a year, in percent; None while samples are few."""
        if len(self._squares) < VOLATILITY_SAMPLES_MIN:
            return None
        seconds = len(self._squares) * VOLATILITY_SAMPLE_MS / 1000
        return 100 * sqrt(self._variance * YEAR_S / seconds)
