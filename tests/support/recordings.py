"""The place of the recordings of real markets. They are not part of the project: without one its tests are skipped."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def recording(folder: str) -> Path:
    """Return the folder of one recording; skip the test where it is absent."""
    configured = os.environ.get("PULSE_TEST_RECORDINGS")
    base = Path(configured) if configured else ROOT.parent / "shared" / "recordings"
    path = base / folder
    if not path.is_dir():
        pytest.skip(f"no recording at {path}: set PULSE_TEST_RECORDINGS to the folder that holds {folder}")
    return path


def case(name: str) -> Path:
    """Return the file of one case, the essence of a reported fault; skip the test where it is absent."""
    configured = os.environ.get("PULSE_TEST_CASES")
    path = (Path(configured) if configured else ROOT.parent / "shared" / "cases") / name
    if not path.is_file():
        pytest.skip(f"no case at {path}: set PULSE_TEST_CASES to the folder that holds {name}")
    return path
