"""Where the recordings of real markets are. They stay outside the project: tests that need them say so and skip."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def recording(folder: str) -> Path:
    """The folder of one recording; skips the test where it is absent."""
    given = os.environ.get("PULSE_TEST_RECORDINGS")
    base = Path(given) if given else ROOT.parent / "shared" / "recordings"
    path = base / folder
    if not path.is_dir():
        pytest.skip(f"no recording at {path}: set PULSE_TEST_RECORDINGS to the folder that holds {folder}")
    return path
