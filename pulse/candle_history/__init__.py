"""Candles on their way to the store, kept equal to the exchange's, and read back."""
