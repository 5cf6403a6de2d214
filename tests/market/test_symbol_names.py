"""Which texts may be the name of a symbol."""

import pytest

from pulse.market.symbol_names import CHARS_MAX, is_symbol_name, symbol_name

CHINESE = "\u5e01\u5b89\u4eba\u751fUSDT"  # listed by Binance


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("BTCUSDT", "BTCUSDT"),
        ("btcusdt", "BTCUSDT"),
        ("1000SATSUSDT", "1000SATSUSDT"),
        (CHINESE, CHINESE),
        (CHINESE.lower(), CHINESE),
        ("\xe4usdt", "\xc4USDT"),
        ("\u0e01\u0e34USDT", "\u0e01\u0e34USDT"),
        ("A" * CHARS_MAX, "A" * CHARS_MAX),
        ("\u5e01" * CHARS_MAX, "\u5e01" * CHARS_MAX),
    ],
    ids=["ascii", "small", "digits", "chinese", "chinese small", "umlaut", "thai mark", "longest", "longest chinese"],
)  # fmt: skip
def test_letters_and_digits_of_any_script_are_a_name(text: str, name: str) -> None:
    """It is spelled in capitals, and a way through small letters gives it back."""
    assert symbol_name(text) == name
    assert is_symbol_name(name)
    assert symbol_name(name.lower()) == name


@pytest.mark.proves("injection")
@pytest.mark.parametrize(
    "text",
    [
        "", "A", "A" * (CHARS_MAX + 1), "\u5e01", "\u5e01" * (CHARS_MAX + 1), "!MINITICKER", "BTC-USDT", "BTC USDT",
        "BTCUSDT\n", "\u5e01.USDT", "\u5e01@USDT", "\u5e01,USDT", "\u5e01/USDT", "\u5e01:USDT", "\u5e01 USDT",
        "\u5e01\u202eUSDT", "\u5e01\u200dUSDT", "\u5e01\x00USDT", "<b>\u5e01", "\ud800USDT", "\U0001f680USDT",
        "\uff22\uff34\uff23USDT", "\u0e34USDT", "\u017fOLUSDT", "\u0131NJUSDT", "\u212aAVAUSDT", "\xdfUSDT",
        "A\u0308USDT",
    ],
)  # fmt: skip
def test_any_other_text_is_not(text: str) -> None:
    """Separators, controls, marks that change the direction, symbols, and letters that another one looks like."""
    assert symbol_name(text) is None
    assert not is_symbol_name(text)


def test_small_letters_are_not_the_name_itself() -> None:
    """In capitals it is."""
    assert not is_symbol_name("btcusdt")
    assert not is_symbol_name(CHINESE.lower())
