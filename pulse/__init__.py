"""Pulse Terminal: an exact order book of Binance, its metrics, candles, feed and dashboard in one process."""
