"""What is remembered of a ban across restarts."""

from pathlib import Path

import pytest

from pulse.binance.bans import BAN_MAX_S, Bans

HOST = "api.binance.us"


def test_a_ban_outlives_the_process(tmp_path: Path) -> None:
    """Another one that reads the same file knows how long to wait."""
    Bans(tmp_path / "state.json").remember(HOST, 1000.0)

    assert Bans(tmp_path / "state.json").remaining_s(HOST, 940.0) == 60.0
    assert Bans(tmp_path / "state.json").remaining_s("other", 940.0) == 0.0


def test_a_past_ban_is_over(tmp_path: Path) -> None:
    """Nothing is waited for after its end."""
    bans = Bans(tmp_path / "state.json")
    bans.remember(HOST, 1000.0)

    assert bans.remaining_s(HOST, 1001.0) == 0.0


@pytest.mark.parametrize("content", ["", "[]", "{broken", '{"api.binance.us": "soon"}'])
def test_a_file_that_is_not_ours_is_no_ban(tmp_path: Path, content: str) -> None:
    """Whatever it holds, the process starts."""
    (tmp_path / "state.json").write_text(content)

    assert Bans(tmp_path / "state.json").remaining_s(HOST, 0.0) == 0.0


def test_no_ban_is_believed_to_last_for_ever(tmp_path: Path) -> None:
    """A clock that was wrong when the ban was written cannot silence the terminal for years."""
    bans = Bans(tmp_path / "state.json")
    bans.remember(HOST, 10.0**12)

    assert bans.remaining_s(HOST, 0.0) == BAN_MAX_S


def test_a_path_that_cannot_be_written_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A full or read-only disk does not stop the feed."""
    Bans(tmp_path / "absent" / "state.json").remember(HOST, 1000.0)

    assert "cannot be remembered" in caplog.text


def test_without_a_path_nothing_is_kept() -> None:
    """The demo has nothing to remember."""
    bans = Bans(None)
    bans.remember(HOST, 1000.0)

    assert bans.remaining_s(HOST, 0.0) == 0.0
