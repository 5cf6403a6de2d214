"""Binance's spelling: where it is, what its frames mean, and how to ask it things."""
