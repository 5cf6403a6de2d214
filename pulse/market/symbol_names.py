"""Names of symbols: which texts may be one, and how it is spelled. It does not know which symbols an exchange lists.

A name is letters and digits of any script (exchanges list some that are not ASCII), without anything that separates
names elsewhere: in topics, streams, paths, settings. Exchanges spell it in capitals, and in small letters in the names
of streams, so a name must be the same after a way through both; that also rules out look-alikes such as U+017F, the
capital of which is an ASCII S.
"""

import re
import unicodedata

CHARS_MIN, CHARS_MAX = 2, 20
ASCII_NAME = re.compile(rf"[A-Z0-9]{{{CHARS_MIN},{CHARS_MAX}}}", re.ASCII)
"""Nearly all names, recognised at once."""
CATEGORIES = "LNM"
"""Unicode's general categories of letters, numbers and the marks that belong to letters."""


def is_symbol_name(name: str) -> bool:
    """Return whether this may be the name of a symbol, in capitals."""
    if ASCII_NAME.fullmatch(name):
        return True
    if name.isascii() or not CHARS_MIN <= len(name) <= CHARS_MAX or name.lower().upper() != name:
        return False
    categories = [unicodedata.category(character)[0] for character in name]
    # Compatibility forms, such as full-width letters, look like others and are not normalised.
    return set(categories) <= set(CATEGORIES) and categories[0] != "M" and unicodedata.is_normalized("NFKC", name)


def symbol_name(text: str) -> str | None:
    """Return the symbol that this text names, in capitals or not; None where it cannot be a symbol's name."""
    name = text.upper()
    return name if is_symbol_name(name) and name.lower() == text.lower() else None
