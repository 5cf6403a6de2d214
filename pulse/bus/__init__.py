"""The bus between publisher and subscriber: one contract, two rooms."""
