"""The newest views by their numbers, within a bound of bytes for all symbols."""

from pulse.fanout.recent_views import RecentViews


def test_a_view_is_found_by_its_number() -> None:
    """Of its symbol; a later one with the same number, of another process, takes its place."""
    views = RecentViews()
    views.add("BTCUSDT", 7, b"first")
    views.add("ETHUSDT", 7, b"other")
    views.add("BTCUSDT", 7, b"second")

    assert (views.find("BTCUSDT", 7), views.find("ETHUSDT", 7), views.find("BTCUSDT", 8)) == (b"second", b"other", None)


def test_the_oldest_go_when_there_are_too_many_bytes() -> None:
    """Of all symbols together; replaced and closed ones do not count."""
    views = RecentViews(bytes_max=10)
    for seq in range(5):
        views.add("BTCUSDT", 1, b"xx")
        views.add("ETHUSDT", seq, b"yy")
    views.add("BTCUSDT", 2, b"zz")
    kept = [views.find("ETHUSDT", seq) for seq in range(5)]
    views.close("ETHUSDT")
    views.add("BTCUSDT", 3, b"123456")

    assert kept == [None, None, b"yy", b"yy", b"yy"]
    assert [views.find("BTCUSDT", seq) for seq in (1, 2, 3)] == [b"xx", b"zz", b"123456"]
