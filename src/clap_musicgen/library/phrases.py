"""What a person types → phrases: those wanted and those not.

Knows words only; neither models nor libraries.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clap_musicgen.errors import InputError, InputTypeError, LibraryQueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_WEIGHT = 1000.0
"""A phrase that counts a thousand times as much drowns all others; more is a slip of the pen."""
MAX_CHARACTERS = 4000
"""Far beyond what a text tower reads; longer questions are files pasted by mistake."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that are embedded together, and how much they count.

    Attributes:
        text: words, such as "church organ".
        weight: among wanted phrases, how much this one counts beside the others; of an unwanted
            one, how strongly it is avoided, 1 being usual. Above 0, up to MAX_WEIGHT.

    Raises:
        InputError, InputTypeError: there are no words, or the weight cannot be used.
    """

    text: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Check the values."""
        if not isinstance(self.text, str):
            raise InputTypeError(f"a phrase must be a string, not {type(self.text).__name__}")
        if not self.text.strip():
            raise InputError("a phrase is empty: describe the music in a few words")
        if isinstance(self.weight, bool) or not isinstance(self.weight, (int, float)):
            kind = type(self.weight).__name__
            raise InputTypeError(f"the weight of {self.text!r} must be a number, not {kind}")
        if not 0 < self.weight <= MAX_WEIGHT:  # false for NaN too
            raise InputError(
                f"the weight {self.weight!r} of {self.text!r} must be above 0 and at most "
                f"{MAX_WEIGHT:g}: leave the phrase out, or put - before it to want less of it"
            )

    def __str__(self) -> str:
        """Write it in the query language."""
        escaped = self.text.replace("\\", r"\\").replace('"', r"\"")
        weight = "" if self.weight == 1 else f"^{float(self.weight)!r}".removesuffix(".0")
        return f'"{escaped}"{weight}'


@dataclass(frozen=True, slots=True)
class Question:
    """What is wanted and what is not, in words. `str(question)` writes it so that `parse` reads it.

    One of the two may be empty: a sound may be what is wanted.
    """

    wanted: tuple[Phrase, ...] = ()
    unwanted: tuple[Phrase, ...] = ()

    def __str__(self) -> str:
        """Write it in the query language, every phrase in quotes."""
        return " ".join([*map(str, self.wanted), *(f"-{phrase}" for phrase in self.unwanted)])


# Reading the query language

_TYPOGRAPHIC = str.maketrans({"“": '"', "”": '"', "„": '"', "‟": '"', "\N{MINUS SIGN}": "-"})
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf|infinity)"
_ITEM = re.compile(
    r"""
    (?P<minus>-+(?=["\w]))?
    (?:
      "(?P<quoted>(?:[^"\\]|\\.)*+)"(?:\^(?P<factor>[^\s,;]*))?(?=[\s,;.!?]|$)
      | (?P<word>\S+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_WEIGHTED = re.compile(rf"(?P<text>.+)\^(?P<factor>{_NUMBER})[,;]?", re.IGNORECASE | re.DOTALL)
_SEPARATORS = {"or", "and", "nor"}
_SCOPE_ENDS = {"but", "with"}
_DETERMINERS = {"a", "an", "the", "any"}
_INSEPARABLE = {("drum", "bass"), ("rhythm", "blues"), ("rock", "roll"), ("country", "western")}


def parse(text: str) -> Question:
    """Read a question as a person types it.

    ==========================================  ====================================================
    ``slow jazz with piano``                    plain words are one phrase, wherever they stand
    ``"church organ"^2 choir``                  phrases of their own; the first counts twice
    ``piano^2 slow``                            a single word may have a weight too
    ``jazz -vocals -"drum solo"``               less of a word, less of a phrase
    ``piano without vocals or drums``           the same in English: all that follows is unwanted,
                                                separated by commas, "or" and "and" ...
    ``guitar without drums but with strings``   ... up to "but" or "with"
    ==========================================  ====================================================

    Hyphens within words, apostrophes, and quotes within or after a word (``12" mix``) are plain
    text. Within quotes everything is; a quote is written ``\\"`` there, a backslash ``\\\\``.

    Raises:
        InputError: it is empty, too long, no text, or a weight cannot be used.
        LibraryQueryError: a quote is not closed, or encloses nothing.
    """
    _check_text(text)
    reading = _Reading(text)
    items = list(_ITEM.finditer(text.translate(_TYPOGRAPHIC)))
    for place, item in enumerate(items):
        reading.take(item, last=place == len(items) - 1)
    question = reading.question()
    if not (question.wanted or question.unwanted):
        raise InputError("the query is empty: describe the music in a few words")
    return question


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise InputTypeError(f"query must be a string, not {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            f"the query {text[:40]!r}... has {len(text)} characters: describe the music in a few "
            f"words ({MAX_CHARACTERS} characters at most)"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the query {text!r} is not valid Unicode: type it again") from error


@dataclass(slots=True)
class _Reading:
    """What has been read of a question so far."""

    text: str
    plain: list[str] = field(default_factory=list)  # wanted words outside quotes
    avoided: list[str] = field(default_factory=list)  # words after "without", separators included
    wanted: list[Phrase] = field(default_factory=list)
    unwanted: list[Phrase] = field(default_factory=list)
    avoiding: bool = False

    def take(self, item: re.Match[str], *, last: bool) -> None:
        """Take the next item in."""
        minus, avoiding = item["minus"] is not None, self.avoiding
        side = self.unwanted if minus or avoiding else self.wanted
        if item["quoted"] is not None:
            side.append(self._quoted(item))
            return
        word = item["word"]
        if re.match(r'"\w', word) and word.count('"') == 1:
            raise LibraryQueryError(
                f"the query {self.text!r} opens a quote and does not close it: close it, or leave "
                "it out"
            )
        weighted = _WEIGHTED.fullmatch(word)
        if weighted:
            side.append(Phrase(weighted["text"], float(weighted["factor"])))
        elif minus:
            self.unwanted.append(Phrase(word.rstrip(",;") or word))
        else:
            self._plain(word, last=last)

    def _quoted(self, item: re.Match[str]) -> Phrase:
        words = _collapsed(re.sub(r'\\(["\\])', r"\1", item["quoted"]))
        if not words:
            raise LibraryQueryError(
                f"the query {self.text!r} has a pair of quotes with nothing in it: write words "
                "between them, or leave them out"
            )
        factor = item["factor"]
        if factor is None:
            return Phrase(words)
        if not re.fullmatch(_NUMBER, factor, re.IGNORECASE):
            raise LibraryQueryError(
                f'the weight {factor!r} of {words!r} is not a number: write it as in "{words}"^2'
            )
        return Phrase(words, float(factor))

    def _plain(self, word: str, *, last: bool) -> None:
        lower = word.lower()
        if lower == "without" and not last and self._last_word() != "or":  # "with or without"
            self.avoiding = True
            self.avoided.append("or")
            self._trim()
        elif not self.avoiding:
            self.plain.append(word)
        elif lower in _SCOPE_ENDS:
            self.avoiding = False
            self.plain += [] if lower == "but" else [word]
        else:
            self.avoided.append(word)

    def _last_word(self) -> str:
        return self.plain[-1].lower() if self.plain and not self.avoiding else ""

    def _trim(self) -> None:
        """Take off what leads over to "without": "slow, and without drums"."""
        while self.plain and self.plain[-1].lower() in {"and", "but", ","}:
            self.plain.pop()
        if self.plain:
            self.plain[-1] = self.plain[-1].rstrip(",;") or self.plain[-1]

    def question(self) -> Question:
        """Return what has been read."""
        plain = _collapsed(" ".join(word for word in self.plain if word.strip(",;")))
        avoided = [Phrase(words) for words in _split(self.avoided)]
        wanted = [Phrase(plain), *self.wanted] if plain else self.wanted
        return Question(tuple(wanted), (*avoided, *self.unwanted))


def _split(words: Sequence[str]) -> Iterator[str]:
    """Split a list in English: "vocals, the drums or rhythm and blues" → three texts."""
    group: list[str] = []
    for place, word in enumerate(words):
        lower = word.lower()
        around = (words[place - 1].lower(), words[min(place + 1, len(words) - 1)].lower())
        if lower in _SEPARATORS and (lower != "and" or around not in _INSEPARABLE):
            yield from _joined(group)
            group = []
        else:
            group.append(word.rstrip(",;"))
            if word.endswith((",", ";")):
                yield from _joined(group)
                group = []
    yield from _joined(group)


def _joined(words: list[str]) -> Iterator[str]:
    if len(words) > 1 and words[0].lower() in _DETERMINERS:
        words = words[1:]
    text = _collapsed(" ".join(words))
    if text:
        yield text


def _collapsed(text: str) -> str:
    return " ".join(text.split())
