"""Pulse Terminal: an exact order book of Binance, its metrics, candles, feed and dashboard in one process."""

__version__ = "0.1.0"
