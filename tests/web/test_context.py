"""The context of the routes."""

from dataclasses import FrozenInstanceError

import pytest

from tests.support.web import make_context, on_server_loop


@on_server_loop
async def test_context_is_frozen() -> None:
    """A route cannot replace a part that others use."""
    with pytest.raises(FrozenInstanceError):
        make_context().hub = None  # type: ignore[misc, assignment]
