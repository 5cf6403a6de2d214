"""A simulated exchange on loopback that speaks Binance's protocol: it feeds the offline demo and the tests."""
