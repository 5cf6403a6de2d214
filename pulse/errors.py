"""Every error class of ours, named by whose fault it is. It imports no framework and nothing else of ours.

PulseError
    SettingsError           the person who started us: a setting, an argument, a file
    ExchangeError           the exchange, or the way to it
        ExchangeRefused     it does not serve us from here (HTTP 451, or 403 that goes on): asking again is pointless
        ExchangeBusy        it told us to wait (HTTP 429, 418 or 403), and until when
        MalformedFrame      it sent something that its own documentation rules out
        UnknownSymbol       it does not list the symbol of a request
        ConnectionEnded     a stream is over
        HandshakeRefused    it refused to open a stream
    StoreUnavailable        the database: away, mute or full
    BadBlock                a block of the recorded past: damaged, cut short, or not of this format
    PastUnavailable         the recorded past: it cannot be read now
    NotObserved             a client: nothing is recorded of the moment that it asked for
    CheckFailed             what `python -m pulse check` found: the text says what to do
    RequestError            a client: its request is wrong, or cannot be granted now
    UnknownListing          a client: it asked for a symbol that the exchange does not list
    ListingPending          the exchange: it has not answered yet which symbols it lists
    TooManySymbols          our own bound: every symbol that may run, or that one address may open, is in use

`pulse/client.py` has its own errors, because users copy it as one file.
"""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

VALUE_CHARACTERS_MAX = 60
"""How much of a client's value an error text repeats."""


class PulseError(Exception):
    """Base of every error that Pulse raises on purpose."""


class SettingsError(PulseError):
    """What the person who started us must change; its text is shown alone, as one sentence a line."""


class ExchangeError(PulseError):
    """The exchange could not be reached, or answered with an error; trying again later may help."""


class ExchangeRefused(ExchangeError):
    """The exchange does not serve this address or region; `status` is its HTTP status.

    It is not asked again for `retry_after_s` seconds.
    """

    def __init__(self, message: str, status: int, retry_after_s: float) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class ExchangeBusy(ExchangeError):
    """The exchange asked us to hold all requests, or refuses this one, for `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class MalformedFrame(ExchangeError):
    """A frame that cannot be what the exchange documents; no part of it was used."""


class UnknownSymbol(ExchangeError):
    """The venue does not list the symbol of a request."""


class ConnectionEnded(ExchangeError):
    """A stream from the exchange is over; the text says how it ended."""


class HandshakeRefused(ExchangeError):
    """The exchange answered the handshake of a stream with HTTP status `status` instead of opening it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the exchange refused to open the stream (HTTP {status})")
        self.status = status


class StoreUnavailable(PulseError):
    """The candle store did not take or give rows; they may be tried again unchanged."""


class BadBlock(PulseError):
    """Bytes of the recorded past that are not what was written; the text says what is wrong with them."""


class PastUnavailable(PulseError):
    """The recorded past cannot be read now; the text is for the client."""


class NotObserved(PulseError):
    """Nothing is recorded of a moment; the text says why."""


class CheckFailed(PulseError):
    """Something that this process needs is not as it must be; the text says what was found and what to do."""


class RequestError(PulseError):
    """A request over HTTP or WebSocket that is not granted; `detail` gives the reason in a sentence.

    `parameter` names the wrong part of the request, `allowed` lists or describes its valid values.
    If `retry_after_s` is set, the request may be repeated unchanged after that many seconds.
    """

    def __init__(
        self, status: HTTPStatus, detail: str, *, parameter: str | None = None,
        allowed: Sequence[object] | str | None = None, retry_after_s: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.parameter = parameter
        self.allowed = allowed
        self.retry_after_s = retry_after_s


class UnknownListing(PulseError):
    """The exchange lists no symbol of this name."""


class ListingPending(PulseError):
    """Whether the exchange lists a symbol is not known yet; the text is for the client."""


class TooManySymbols(PulseError):
    """All symbols that may run at once, or that one address may open, are in use; the text is for the client.

    `is_address`: it is the limit of the address that was reached. It may be tried again after `retry_after_s` seconds.
    """

    def __init__(self, message: str, retry_after_s: int, *, is_address: bool) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.is_address = is_address

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status for the client."""
        return HTTPStatus.TOO_MANY_REQUESTS if self.is_address else HTTPStatus.SERVICE_UNAVAILABLE


def wrong_parameter(
    name: str, value: Any, allowed: Sequence[object] | str, status: HTTPStatus = HTTPStatus.BAD_REQUEST
) -> RequestError:
    """Return the error for a parameter whose value is not one of, or not as described by, `allowed`."""
    expected = allowed if isinstance(allowed, str) else "one of " + ", ".join(map(str, allowed))
    return RequestError(status, f"{name} must be {expected}, not {quoted(value)}.", parameter=name, allowed=allowed)


def try_later(detail: str, retry_after_s: int, status: HTTPStatus = HTTPStatus.SERVICE_UNAVAILABLE) -> RequestError:
    """Return the error for a request that may be granted after `retry_after_s` seconds."""
    return RequestError(status, detail, retry_after_s=retry_after_s)


def quoted(value: Any) -> str:
    """Return a client's value as JSON, cut to a length that fits an error text."""
    try:
        text = json.dumps(value)
    except RecursionError:  # orjson reads deeper nesting than json writes
        return "a value nested too deeply"
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[: VALUE_CHARACTERS_MAX - 3] + "..."
