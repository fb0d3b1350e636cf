"""Which SQL conditions may come from strangers: comparisons of columns, joined by AND, OR and NOT.

The database evaluates whatever SQL it is given: a condition of 60 characters can ask for gigabytes,
or nest so deep that the whole process ends. A person at their own shell may do that; who asks over
a network may not. Pure: knows the words of SQL and the columns, nothing that evaluates them.
"""

from __future__ import annotations

import re

from clap_musicgen.errors import LibraryQueryError
from clap_musicgen.library.rows import FILTER_COLUMNS

MAX_CHARACTERS = 2_000
MAX_TOKENS = 200
MAX_DEPTH = 10
"""Parentheses within each other, and NOTs before them."""

_WORDS = frozenset(
    {"and", "or", "not", "in", "is", "null", "like", "ilike", "between", "true", "false"}
)
_CALLS = frozenset({"lower", "upper"})
_TYPES = frozenset({"timestamp", "date"})  # before a string
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>\d+(?:\.\d+)?)|(?P<word>[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<sign><=|>=|<>|!=|==|[=<>(),]))",
    re.ASCII,
)


def check_condition(where: str) -> None:
    """Refuse a condition that is more than comparisons of columns with values.

    Whether it is right in itself is left to who evaluates it.

    Raises:
        LibraryQueryError: it is too long, nested too deeply, or has a word or sign that may not be.
    """
    if len(where) > MAX_CHARACTERS:
        raise _refused(where, f"has {len(where)} characters, {MAX_CHARACTERS} are allowed")
    tokens = _tokens(where)
    if len(tokens) > MAX_TOKENS:
        raise _refused(where, f"has {len(tokens)} words and signs, {MAX_TOKENS} are allowed")
    depth = 0
    for place, (kind, token) in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if not 0 <= depth + tokens[:place].count(("word", "not")) <= MAX_DEPTH:
            raise _refused(where, f"is nested more than {MAX_DEPTH} deep, or ends what never began")
        following = tokens[place + 1] if place + 1 < len(tokens) else ("", "")
        if kind == "word" and not _may_be(token, following):
            raise _refused(where, f"has {token!r} in it")


def _tokens(where: str) -> list[tuple[str, str]]:
    """Kind and text of each word, value and sign; words in lower case."""
    found, place, end = [], 0, len(where.rstrip())
    while place < end:
        match = _TOKEN.match(where, place)
        if match is None or match.lastgroup is None:
            raise _refused(where, f"has {where[place:].lstrip()[:1]!r} in it")
        text = match[match.lastgroup]
        found.append((match.lastgroup, text.lower() if match.lastgroup == "word" else text))
        place = match.end()
    return found


def _may_be(word: str, following: tuple[str, str]) -> bool:
    """Tell whether a word may stand before what follows: no function but the harmless few."""
    if word in FILTER_COLUMNS:
        return following[1] != "("
    if word in _TYPES:
        return following[0] == "text"
    return word in _WORDS or (word in _CALLS and following[1] == "(")


def _refused(where: str, why: str) -> LibraryQueryError:
    shown = where if len(where) <= 80 else f"{where[:80]}…"
    return LibraryQueryError(
        f"the condition {shown!r} {why}: compare {', '.join(FILTER_COLUMNS)} with numbers and 'texts' "
        "by = <> < <= > >= LIKE IN BETWEEN IS NULL, joined by AND, OR, NOT, as in "
        "\"artist = 'Nina Simone' AND year >= 1960\""
    )
