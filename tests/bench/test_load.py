"""The load generators against a real server: what they count, and how they report a refusal; never how fast."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench.load
from bench.load import PUBLISHED, Refused, Target, load, loads
from bench.load_asyncio import quantiles, read_stamp, split_frame
from bench.rivals.run import Rival, hard_limit
from bench.terminal import exchange


@pytest.fixture(params=["C", "Python"])
def generator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return both generators in turn; where there is no compiler, the one in Python alone."""
    if request.param == "Python" or bench.load.compiler() is None:
        monkeypatch.setattr("bench.load.compiler", lambda: None)
    return str(request.param)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Rival]:
    """Run a broadcaster of 500 bytes at 20 Hz."""
    with hard_limit(tmp_path, 500, 20.0) as rival:
        yield rival


def test_messages_are_counted_with_their_bytes_and_ages(tmp_path: Path, server: Rival, generator: str) -> None:
    """Each client's messages count, 504 bytes each with the frame's header, and each has an age."""
    with load(
        tmp_path, server.port, "/", [server.program], clients=5, warmup_s=0.2, window_s=0.5, **PUBLISHED
    ) as found:
        window = next(found)

    assert (window.clients, window.bytes) == (5, 504 * window.messages)
    assert window.healthy is not None
    assert 0 < window.healthy.count <= window.messages


def test_several_generators_measure_together(tmp_path: Path, server: Rival, generator: str) -> None:
    """Their messages are summed, and they connect from addresses of their own."""
    targets = [Target(server.port, "/", clients) for clients in (2, 3)]
    with loads(tmp_path, targets, [server.program], windows=2, warmup_s=0.2, window_s=0.5, **PUBLISHED) as found:
        addresses = addresses_of(server.port)
        windows = list(found)

    assert addresses == Counter({"127.0.0.2": 2, "127.0.0.3": 3})
    for window in windows:
        assert (window.clients, window.bytes) == (5, 504 * window.messages)
        assert window.healthy is not None
        assert window.messages - 5 <= window.healthy.count <= window.messages


def test_one_of_several_generators_may_be_refused(tmp_path: Path, server: Rival, generator: str) -> None:
    """That ends the experiment, as with one."""
    with (
        exchange(tmp_path, ["BTCUSDT"], 10.0) as port,
        pytest.raises(Refused, match="404"),
        loads(tmp_path, [Target(server.port, "/", 1), Target(port, "/nowhere", 1)], []),
    ):
        pass


def addresses_of(port: int) -> Counter[str]:
    """Return from which addresses connections to this port of loopback are established, and how many from each."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    remote = [row[2].partition(":")[0] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"]
    return Counter(".".join(str(byte) for byte in reversed(bytes.fromhex(address))) for address in remote)


def test_stalled_clients_read_nothing(tmp_path: Path, server: Rival, generator: str) -> None:
    """A stalled client is connected and receives no message."""
    with load(tmp_path, server.port, "/", [server.program], clients=0, stalled=3, warmup_s=0.2, window_s=0.3) as found:
        window = next(found)

    assert (window.clients, window.messages, window.healthy) == (3, 0, None)


def test_refusal_is_reported_with_its_status(tmp_path: Path, generator: str) -> None:
    """A server that does not know the path ends the experiment with an error."""
    with (
        exchange(tmp_path, ["BTCUSDT"], 10.0) as port,
        pytest.raises(Refused, match="404"),
        load(tmp_path, port, "/nowhere", [], clients=1),
    ):
        pass


@pytest.mark.parametrize("head", [b"\x81\x03", b"\x81\x7e\x00\x03", b"\x81\x7f" + bytes(7) + b"\x03"])
def test_frame_is_split_off_for_every_length_form(head: bytes) -> None:
    """All three forms of a length mean the same."""
    assert split_frame(head + b"abcde") == (1, False, b"abc", b"de")


@pytest.mark.parametrize("data", [b"", b"\x81", b"\x81\x7e\x00", b"\x81\x03ab"])
def test_incomplete_frame_is_left(data: bytes) -> None:
    """The rest comes with the next read."""
    assert split_frame(data) is None


def test_stamp_is_the_number_after_its_key() -> None:
    """The same key may have a text value before it."""
    body = b'{"candle":{"timestamp":"2024"},"timestamp":1723161255.213}'

    assert read_stamp(body, b'"timestamp":') == 1723161255.213


def test_quantiles_are_of_the_ordered_ages() -> None:
    """Their order of arrival does not matter."""
    found = quantiles([float(age) for age in reversed(range(100))])

    assert found == {"count": 100, "p50_s": 50.0, "p99_s": 99.0, "worst_s": 99.0}
