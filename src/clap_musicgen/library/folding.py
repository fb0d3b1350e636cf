"""Text without case and accents, so that "beyonce" finds "Beyoncé".

Pure. Knows Unicode only.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

_MARKS = "\u0300-\u036f"  # combining diacritical marks
_MARK = re.compile(f"[{_MARKS}]")
_LETTERS = str.maketrans("øłđðħıŧςſ", "olddhitσs")  # have no decomposition, or two small forms
_TABLE_END = 0x2200
"""Latin, Greek and Cyrillic letters with accents, and letter-like symbols, lie below."""


def fold(text: str) -> str:
    """Return the text in lower case, without accents, decomposed where that is no accent.

    Letters of their own stay: ß is not ss, and が is not か.
    """
    bare = _MARK.sub("", unicodedata.normalize("NFD", text))
    return "".join(letter.lower() for letter in bare).translate(_LETTERS)


def folded_pattern(text: str) -> str:
    r"""Return a regular expression for the texts that fold to the same as `text`.

    For Rust's `regex` and Python's `re` alike up to the spelling of a code point: every character
    is written as ``\x{HEX}``, so that there is nothing to escape, in the expression or around it.
    """
    bare = unicodedata.normalize("NFC", _MARK.sub("", unicodedata.normalize("NFD", text)))
    marks = rf"[{code_point(0x300)}-{code_point(0x36F)}]*"
    return marks + "".join(_letter(letter) + marks for letter in bare)


def literal_pattern(text: str) -> str:
    """Return a regular expression for exactly this text, with nothing to escape."""
    return "".join(code_point(ord(letter)) for letter in text)


def code_point(number: int) -> str:
    r"""Write a code point as ``\x{HEX}``."""
    return rf"\x{{{number:X}}}"


@lru_cache(maxsize=1024)
def _letter(letter: str) -> str:
    """Return an expression for one composed character and its equals."""
    folded = fold(letter)
    forms = {letter, unicodedata.normalize("NFD", letter), folded}
    forms |= {letter.lower(), letter.upper()} if len(folded) == 1 else set()
    forms |= set(_equals().get(folded, ()))
    alternatives = sorted(form for form in forms if fold(form) == folded)
    single = [form for form in alternatives if len(form) == 1]
    several = [form for form in alternatives if len(form) > 1]
    classes = [f"[{''.join(map(literal_pattern, single))}]"] if single else []
    options = [*classes, *map(literal_pattern, several)]
    return options[0] if len(options) == 1 else f"(?:{'|'.join(options)})"


@cache
def _equals() -> dict[str, tuple[str, ...]]:
    """Folded letter → the characters that fold to it."""
    found: dict[str, list[str]] = {}
    for number in range(_TABLE_END):
        letter = chr(number)
        found.setdefault(fold(letter), []).append(letter)
    return {folded: tuple(letters) for folded, letters in found.items() if folded}
