"""What is done about a silent stream, and how often: subscribe again, then replace the connection, ever more rarely."""

from itertools import pairwise

from pulse.ingest.stream_remedy import HELPS_WITHIN_S, REPLACE_AGAIN_FIRST_S, REPLACE_AGAIN_MAX_S, Remedy, StreamRemedy

HELPS_MS = HELPS_WITHIN_S * 1000


def test_silent_streams_are_subscribed_to_again_at_once() -> None:
    """Each is asked for once, all that are due together."""
    remedy = StreamRemedy()
    for kind in ("trade", "kline", "trade"):
        remedy.on_silent(kind, 0.0)

    assert remedy.is_active
    assert remedy.take() == Remedy(["trade", "kline"], [])
    assert remedy.take() == Remedy([], [])


def test_connection_is_replaced_where_subscribing_again_did_not_help() -> None:
    """Not before a new subscription could have shown its effect."""
    remedy = StreamRemedy()
    remedy.on_silent("trade", 0.0)
    remedy.on_silent("trade", HELPS_MS - 1)
    assert remedy.take() == Remedy(["trade"], [])

    remedy.on_silent("trade", HELPS_MS)
    assert remedy.take() == Remedy([], ["trade"])


def test_connections_are_replaced_ever_more_rarely() -> None:
    """The wait doubles up to its bound."""
    remedy, now_s = StreamRemedy(), 0.0
    replaced_s: list[float] = []
    while now_s < 20_000:
        remedy.on_silent("trade", now_s * 1000)
        replaced_s += [now_s] * len(remedy.take().replace_for)
        now_s += 5.0
    waits = [later - sooner for sooner, later in pairwise(replaced_s)]

    assert replaced_s[0] == HELPS_WITHIN_S
    assert waits[:3] == [REPLACE_AGAIN_FIRST_S, 2 * REPLACE_AGAIN_FIRST_S, 4 * REPLACE_AGAIN_FIRST_S]
    assert set(waits[6:]) == {REPLACE_AGAIN_MAX_S}


def test_frame_ends_the_case_of_its_stream() -> None:
    """The next silence begins with a new subscription, and other streams' cases go on."""
    remedy = StreamRemedy()
    for kind in ("trade", "kline"):
        remedy.on_silent(kind, 0.0)
    remedy.take()
    remedy.on_frame("trade")
    remedy.on_frame("depth")
    for kind in ("trade", "kline"):
        remedy.on_silent(kind, HELPS_MS)
    assert remedy.take() == Remedy(["trade"], ["kline"])

    for kind in ("trade", "kline"):
        remedy.on_frame(kind)
    assert not remedy.is_active
