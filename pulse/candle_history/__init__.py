"""The history of candles: written to the store, reconciled with the exchange's own, deleted when old, read back."""
