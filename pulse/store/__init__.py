"""Closed candles and trade gaps in a database."""
