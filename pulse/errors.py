"""Every error of our own, named by whose fault it is.

PulseError
    SettingsError           the person who started us: a setting, an argument, a file
    ExchangeError           the exchange, or the way to it
        ExchangeRefused     it will not serve us from here (HTTP 451 or 403): asking again soon is pointless
        ExchangeBusy        it told us to wait (HTTP 429 or 418), and until when
        MalformedFrame      it sent something that its own documentation rules out
        UnknownSymbol       it does not list the symbol of a request
        ConnectionEnded     a stream is over
        HandshakeRefused    it refused to open a stream
    StoreUnavailable        the database: away, mute or full
"""


class PulseError(Exception):
    """Base of every error that Pulse raises on purpose."""


class SettingsError(PulseError):
    """What the person who started us must change; its text is shown alone, as one sentence a line."""


class ExchangeError(PulseError):
    """The exchange could not be reached, or answered with trouble; trying again later may help."""


class ExchangeRefused(ExchangeError):
    """The exchange does not serve this address or region; `status` is its HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ExchangeBusy(ExchangeError):
    """The exchange asked us to hold all requests for `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class MalformedFrame(ExchangeError):
    """A frame that cannot be what the exchange documents; nothing of it was used."""


class StoreUnavailable(PulseError):
    """The candle store did not take or give rows; they may be tried again unchanged."""


class UnknownSymbol(ExchangeError):
    """The venue does not list the symbol of a request."""


class ConnectionEnded(ExchangeError):
    """A stream from the exchange is over; the text says how it ended."""


class HandshakeRefused(ExchangeError):
    """The exchange answered the handshake of a stream with HTTP status `status` instead of opening it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the exchange refused to open the stream (HTTP {status})")
        self.status = status
