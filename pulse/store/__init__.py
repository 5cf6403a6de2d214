"""Where closed candles are kept: one contract, two rooms."""
