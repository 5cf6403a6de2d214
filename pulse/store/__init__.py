"""Closed candles and gaps in trades in a database: SQLite or PostgreSQL."""
