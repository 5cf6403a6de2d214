"""Faults of frames and REST answers, without a socket."""

from typing import Any

import pytest

from pulse.simulator.faults import PRICE, RULES_MAX, Faults, FrameFaults, RestFaults, cross_depth
from pulse.simulator.payloads import StreamEvent

STREAM = "btcusdt@depth@100ms"


def events(*numbers: int, stream: str = STREAM) -> list[StreamEvent]:
    """Return numbered events, 100 ms apart."""
    return [StreamEvent(stream, {"u": number}, number * 100) for number in numbers]


def numbers_sent(faults: FrameFaults, *numbers: int, now_ms: int = 0) -> list[Any]:
    """Return the numbers of the frames that are sent."""
    return [f.data["u"] for f in faults.apply(events(*numbers), now_ms) if isinstance(f.data, dict)]


def test_without_faults_everything_passes() -> None:
    """Frames are the events, unchanged."""
    assert [tuple(f) for f in FrameFaults().apply(events(1, 2), 200)] == [tuple(e) for e in events(1, 2)]


def test_dropped_frames_are_lost() -> None:
    """Exactly the given number, then all pass again."""
    faults = FrameFaults()
    faults.drop(STREAM, 2)

    assert numbers_sent(faults, 1, 2, 3) == [3]


def test_duplicated_frames_come_twice() -> None:
    """The copy follows right after the frame."""
    faults = FrameFaults()
    faults.duplicate(STREAM)

    assert numbers_sent(faults, 1, 2) == [1, 1, 2]


def test_swapped_frames_change_places() -> None:
    """Also when they come in different steps."""
    faults = FrameFaults()
    faults.swap(STREAM)

    assert numbers_sent(faults, 1) == []
    assert numbers_sent(faults, 2, 3) == [2, 1, 3]


def test_delayed_frames_come_when_due() -> None:
    """Later frames overtake, and a delayed one comes due without a new event."""
    faults = FrameFaults()
    faults.delay(STREAM, by_ms=150)

    assert numbers_sent(faults, 1, 2, now_ms=200) == [2]
    assert numbers_sent(faults, now_ms=249) == []
    assert numbers_sent(faults, now_ms=250) == [1]


def test_delayed_frame_is_sorted_by_its_new_time() -> None:
    """When one step has both, the delayed frame comes between the frames around its new time."""
    faults = FrameFaults()
    faults.delay(STREAM, by_ms=150)

    assert numbers_sent(faults, 1, 2, 3, now_ms=300) == [2, 1, 3]


def test_rules_match_their_stream_and_apply_in_order() -> None:
    """Frames of other streams pass; patterns match many; the oldest rule applies first."""
    faults = FrameFaults()
    faults.drop("*@trade")
    faults.drop("btcusdt@*")
    faults.duplicate("btcusdt@*")

    assert numbers_sent(faults, 1, 2, 3) == [2, 2, 3]


def test_muted_streams_are_silent_until_unmuted() -> None:
    """Muting is by pattern; unmuting without arguments lifts all."""
    faults = FrameFaults()
    faults.mute("*@depth*")
    silence = numbers_sent(faults, 1)
    assert faults.is_muted("*@depth*")
    faults.unmute()

    assert not faults.is_muted("*@depth*")
    assert silence == []
    assert numbers_sent(faults, 2) == [2]


def test_frames_can_be_edited_or_replaced_by_text() -> None:
    """A function may alter a copy of the object, or return any text."""
    faults, event = FrameFaults(), events(1)[0]
    faults.edit(STREAM, lambda data: data | {"u": None})
    faults.edit(STREAM, lambda data: "{broken")

    assert [f.data for f in faults.apply([event, event], 100)] == [{"u": None}, "{broken"]
    assert event.data == {"u": 1}


@pytest.mark.parametrize(
    ("field_kind", "data", "wrong"),
    [
        ("quantity", {"b": [], "a": [["1.50000000", "0.00000000"]]}, {"a": [["1.50000000", "1.00000000"]]}),
        ("quantity", {"b": "1.00000000", "B": "0.02000000"}, {"B": "0.03000000"}),
        (PRICE, {"b": [["61837.63000000", "1.00000000"]]}, {"b": [["62456.00000000", "1.00000000"]]}),
        (PRICE, {"e": "aggTrade", "p": "200.00000000"}, {"p": "300.00000000"}),
        ("quantity", {"k": {"v": "5.25000000"}}, {"k": {"v": "5.30000000"}}),
    ],
)
def test_corrupt_number_stays_plausible(field_kind: str, data: dict[str, Any], wrong: dict[str, Any]) -> None:
    """Slightly too large and on the same step, so that only a comparison can find it."""
    faults = FrameFaults()
    faults.corrupt(STREAM, field_kind)

    assert faults.apply([StreamEvent(STREAM, data, 1)], 1)[0].data == data | wrong


def test_rules_are_bounded() -> None:
    """Adding more than the maximum of pending rules raises."""
    faults = FrameFaults()
    for _ in range(RULES_MAX):
        faults.drop(STREAM)

    with pytest.raises(ValueError, match="at most"):
        faults.drop(STREAM)


def test_rest_faults_are_used_up_in_order() -> None:
    """A counted fault serves that many requests of its path, then the next rule applies."""
    faults = RestFaults()
    faults.answer("/api/v3/depth", 429, retry_after_s=3, count=1)
    faults.html("/api/*", count=1)

    assert faults.next_for("/other") is None
    assert [fault and fault.status for fault in map(faults.next_for, ["/api/v3/depth"] * 3)] == [429, 502, None]


def test_clearing_ends_every_fault() -> None:
    """After clear everything is at its default."""
    faults = Faults(depth_lag_ms=5, refuse_sockets=503, half_open=True, nested_errors=True)
    faults.frames.mute("*")
    faults.rest.hang("*", 60)
    faults.clear()

    assert numbers_sent(faults.frames, 1) == [1]
    assert faults.rest.next_for("/api/v3/depth") is None
    assert (faults.depth_lag_ms, faults.refuse_sockets, faults.half_open, faults.nested_errors) == (
        0,
        None,
        False,
        False,
    )


def test_crossed_snapshot_has_its_best_prices_exchanged() -> None:
    """Prices cross; quantities and deeper levels stay."""
    crossed = cross_depth({"bids": [["1", "5"], ["0.9", "1"]], "asks": [["2", "6"]], "lastUpdateId": 1})

    assert crossed == {"bids": [["2", "5"], ["0.9", "1"]], "asks": [["1", "6"]], "lastUpdateId": 1}
