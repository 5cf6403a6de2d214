"""An exchange on loopback that speaks Binance's protocol: the demo without a network, and the tests' exchange."""
