"""What one address may have of a thing that is bounded for all clients."""

import logging

import pytest

from pulse.errors import RequestError
from pulse.server.shares import AddressShare
from tests.support.metrics import sample_of


def share(total: int = 3, per_address_max: int = 2) -> AddressShare:
    """Return a share of chairs."""
    return AddressShare("chairs", "chairs taken", total=total, per_address_max=per_address_max, retry_after_s=7)


def refusal(chairs: AddressShare, address: str, count: int = 1) -> tuple[int, str, int | None]:
    """Return status, text and time of the next try of a refusal."""
    with pytest.raises(RequestError) as caught:
        chairs.enter(address, count)
    return caught.value.status, caught.value.detail, caught.value.retry_after_s


def test_address_at_its_limit_is_refused_alone() -> None:
    """429 with a sentence and the time of the next try; another address gets what is left."""
    chairs = share()
    chairs.enter("192.0.2.1", 2)

    status, detail, retry_after_s = refusal(chairs, "192.0.2.1")
    assert (status, retry_after_s) == (429, 7)
    assert detail == "Your address has as many chairs taken as this server allows one address: 2."
    chairs.enter("192.0.2.2")
    assert refusal(chairs, "192.0.2.3") == (503, "This server has as many chairs taken as it allows.", 7)
    chairs.leave("192.0.2.1")
    chairs.enter("192.0.2.3")
    assert chairs.count == 3


def test_refusal_takes_nothing() -> None:
    """What would not fit whole is not taken in part."""
    chairs = share(total=10, per_address_max=5)
    chairs.enter("192.0.2.1", 3)
    refusal(chairs, "192.0.2.1", 3)

    assert chairs.count == 3


def test_share_is_given_back_at_the_end_of_a_block() -> None:
    """Whatever ends it."""
    chairs, counts = share(), []

    def sit_down() -> None:
        with chairs.held("192.0.2.1"):
            counts.append(chairs.count)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        sit_down()

    assert (counts, chairs.count) == ([1], 0)


def test_refusals_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A client that asks again and again makes one line a minute; /metrics has each by limit."""
    caplog.set_level(logging.WARNING)

    def counts() -> list[float]:
        return [
            sample_of("pulse_shares_refused_total", {"share": "chairs", "limit": limit}) or 0.0
            for limit in ("all", "address")
        ]

    before, chairs = counts(), share()
    chairs.enter("192.0.2.1", 2)
    for _ in range(1000):
        refusal(chairs, "192.0.2.1")
    chairs.enter("192.0.2.2")
    refusal(chairs, "192.0.2.2")

    assert [after - was for after, was in zip(counts(), before, strict=True)] == [1.0, 1000.0]
    assert [record.getMessage() for record in caplog.records] == [
        "share refused share=chairs limit=address address=192.0.2.1 times=1"
    ]
