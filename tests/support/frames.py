"""One real frame of each stream, and helpers that change it."""

import json

import orjson

from pulse.binance.messages import parse
from pulse.errors import MalformedFrame

DEPTH = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255308,"s":"BTCUSDT","U":50093239203,'
    b'"u":50093239207,"b":[["55653.87000000","0.00000000"]],"a":[["61838.04000000","0.32332000"],["61862.50000000",'
    b'"0.05019000"]]}}'
)
TICKER = (
    b'{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000",'
    b'"a":"61837.64000000","A":"1.54698000"}}'
)
TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,'
    b'"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
)
AGG_TRADE = (
    b'{"stream":"nknusdt@aggTrade","data":{"e":"aggTrade","E":1633998523963,"s":"NKNUSDT","a":15683430,'
    b'"p":"0.35280000","q":"58.00000000","f":19862789,"l":19862790,"T":1633998523963,"m":false,"M":true}}'
)
KLINE = (
    b'{"stream":"omgbusd@kline_1m","data":{"e":"kline","E":1633998301755,"s":"OMGBUSD","k":{"t":1633998240000,'
    b'"T":1633998299999,"s":"OMGBUSD","i":"1m","f":439572,"L":439585,"o":"13.72120000","c":"13.76640000",'
    b'"h":"13.80760000","l":"13.72120000","v":"536.51000000","n":14,"x":true,"q":"7387.12073500",'
    b'"V":"231.60000000","Q":"3187.75743000","B":"0"}}}'
)
ABSENT = object()
"""In place of a value: the field is removed."""


def changed(raw: bytes, path: str, value: object) -> bytes:
    """Return the frame with one field of its data changed or removed."""
    body = orjson.loads(raw)
    *parents, name = ["data", *path.split(".")]
    container = body
    for parent in parents:
        container = container[parent]
    container.pop(name, None)
    if value is not ABSENT:
        container[name] = value
    return json.dumps(body).encode()


def is_refused(raw: bytes) -> bool:
    """Return whether a message is refused as malformed."""
    try:
        parse(raw)
    except MalformedFrame:
        return True
    return False
