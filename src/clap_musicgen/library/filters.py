"""What tracks may answer: filters on tags, length, place and time, as one SQL condition.

Pure. Knows the columns of `rows.FILTER_COLUMNS` and DataFusion's SQL; not who evaluates it. No
text reaches the SQL as it is: texts become regular expressions of escaped code points.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TypeAlias

from clap_musicgen.errors import InputError, InputTypeError
from clap_musicgen.library.folding import folded_pattern, literal_pattern
from clap_musicgen.library.paths import absolute, readable

Texts: TypeAlias = str | Sequence[str]
Years: TypeAlias = tuple[int | None, int | None]
Seconds: TypeAlias = tuple[float | None, float | None]

MAX_TEXT = 500
"""Characters in one text of a filter, and in one regular expression: larger ones do not compile."""
MAX_TEXTS = 10_000
"""Characters in all texts of a filter."""
MAX_YEAR = 9999
MAX_SECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Filters:
    """Which tracks may answer; what is left out allows all.

    Attributes:
        artist: one or several, any of which will do; regardless of case and accents, and `*` stands
            for any text. "" is an unknown artist.
        album: likewise.
        genre: likewise.
        year: first and last year, both included; None is an open end. A track of unknown year
            passes only where no year is asked for.
        duration: least and greatest length in seconds, both included; None is an open end.
        under: a folder or file, or several, any of which will do.
        added_since: a point in time (a naive one is local), a day, or text as `parse_since` reads.
    """

    artist: Texts = ()
    album: Texts = ()
    genre: Texts = ()
    year: Years = (None, None)
    duration: Seconds = (None, None)
    under: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = ()
    added_since: datetime | date | str | None = None


def sql(
    filters: Filters | None, where: str | None = None, *, now: datetime | None = None
) -> str | None:
    """Return the condition that `filters` and `where` make together, or None for all tracks.

    Args:
        filters: None filters nothing.
        where: a condition in SQL on `rows.FILTER_COLUMNS`, taken as it is.
        now: what "7d" counts back from; by default the present.

    Raises:
        InputError, InputTypeError: a filter has a value that cannot be used.
    """
    if filters is not None and not isinstance(filters, Filters):
        raise InputTypeError(f"filters must be a Filters, not {type(filters).__name__}")
    if where is not None and not isinstance(where, str):
        raise InputTypeError(f"where must be a string, not {type(where).__name__}")
    conditions = [] if filters is None else list(_conditions(filters, now))
    if not conditions:
        return where
    return " AND ".join([*conditions, *([] if where is None else [f"({where})"])])


def _conditions(filters: Filters, now: datetime | None) -> Iterator[str]:
    for column in ("artist", "album", "genre"):
        texts = _listed(getattr(filters, column), column)
        if texts:
            yield _matches(column, [(str(text), _equal(str(text), column)) for text in texts])
    yield from _between("year", _range(filters.year, "year", -MAX_YEAR, MAX_YEAR, whole=True))
    yield from _between("duration", _range(filters.duration, "duration", 0, MAX_SECONDS))
    folders = _listed(filters.under, "under")
    if folders:
        yield _matches("path", [_under(folder) for folder in folders])
    if filters.added_since is not None:
        moment = _moment(filters.added_since, now)
        yield f"added >= timestamp '{moment.replace(tzinfo=None).isoformat(sep=' ')}'"


def _listed(texts: object, name: str) -> list[str | os.PathLike[str]]:
    several = [texts] if isinstance(texts, (str, os.PathLike)) else texts
    kinds = (str, os.PathLike) if name == "under" else (str,)
    if not isinstance(several, Sequence) or not all(isinstance(text, kinds) for text in several):
        raise InputTypeError(f"{name} must be a string or a list of strings, not {texts!r}")
    return list(several)


def _equal(text: str, name: str) -> str:
    r"""Return the pattern of a text with `*`; `(?s:.)` is any character, line breaks included."""
    wanted = _checked(text, name).strip()
    folded = "(?s:.*)".join(folded_pattern(part) for part in wanted.split("*"))
    return f"(?:{folded}|{literal_pattern(text)})"


def _under(folder: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the root and the pattern of the paths that are, or lie in, a folder."""
    if not os.fspath(folder):
        raise InputError("under is empty: name a folder")
    root = _checked(readable(absolute(folder)), "under").rstrip("/")
    return root, f"{literal_pattern(root)}(?:{literal_pattern('/')}(?s:.*))?"


def _checked(text: str, name: str) -> str:
    if len(text) > MAX_TEXT:
        raise InputError(
            f"the {name} {text[:40]!r}... has {len(text)} characters: use at most {MAX_TEXT}, "
            "with * for the rest"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the {name} {text!r} is not valid Unicode: type it again") from error
    return text


def _matches(column: str, texts: Sequence[tuple[str, str]]) -> str:
    """Return the condition that one of several (text, pattern) matches all of a column."""
    if sum(len(text) + 1 for text, _ in texts) > MAX_TEXTS:
        raise InputError(
            f"the {len(texts)} texts for {column} have more than {MAX_TEXTS} characters: name "
            "fewer, with * where they have something in common"
        )
    groups: list[list[str]] = [[]]
    size = 0
    for text, pattern in texts:
        size += len(text) + 1
        if size > MAX_TEXT and groups[-1]:
            groups.append([])
            size = len(text) + 1
        groups[-1].append(pattern)
    conditions = [f"regexp_like({column}, '^(?:{'|'.join(group)})$')" for group in groups]
    return f"({' OR '.join(conditions)})"


def _range(
    given: object, name: str, least: float, greatest: float, *, whole: bool = False
) -> tuple[float | None, float | None]:
    """Check a range: two numbers or None, in order and within what a column holds."""
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        raise InputTypeError(f"{name} must be a pair (from, to), either may be None, not {given!r}")
    for end in given:
        if end is None:
            continue
        if isinstance(end, bool) or not isinstance(end, int if whole else (int, float)):
            kind = "whole numbers" if whole else "numbers"
            raise InputTypeError(f"{name} must be a pair of {kind} or None, not {given!r}")
        if not (math.isfinite(end) and least <= end <= greatest):
            raise InputError(f"{name} must lie from {least} to {greatest:.0f}, not {end!r}")
    first, last = given
    if first is not None and last is not None and first > last:
        raise InputError(f"{name} ends before it begins: {first!r} to {last!r}")
    return first, last


def _between(column: str, ends: tuple[float | None, float | None]) -> Iterator[str]:
    first, last = ends
    if first is not None:
        yield f"{column} >= {first!r}"
    if last is not None:
        yield f"{column} <= {last!r}"


def _moment(since: object, now: datetime | None) -> datetime:
    """Return a point in time in UTC."""
    if isinstance(since, str):
        return parse_since(since, now=now)
    if not isinstance(since, date):
        raise InputTypeError(f"added_since must be a date, a time or a text, not {since!r}")
    moment = since if isinstance(since, datetime) else datetime.combine(since, time())
    try:
        return moment.astimezone(UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise InputError(f"added_since {since!r} is out of range: name a later day") from error


# How a person writes ranges and times

_YEAR = r"\d{1,4}"
_LENGTH = r"(?:\d+:)?\d{1,3}:\d{2}(?:\.\d+)?|\d+(?:\.\d+)?\s*(?:s|sec|m|min|h)?"
_DASH = r"\s*[-–]\s*"
_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_AGES = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def parse_years(text: str) -> Years:
    """Read `1960-1969`, `1960-`, `-1969`, `1969` or `1960s`.

    Raises:
        InputError: it is none of these, or ends before it begins.
    """
    decade = re.fullmatch(r"(\d{3}0)s", text.strip())
    if decade:
        return int(decade[1]), int(decade[1]) + 9
    first, last = _ends(text, _YEAR, "year", "1960-1969, 1960-, -1969, 1969 or 1960s")
    years = (int(first) if first else None, int(last) if last else None)
    _range(years, "year", -MAX_YEAR, MAX_YEAR, whole=True)
    return years


def parse_lengths(text: str) -> Seconds:
    """Read `2:00-5:00`, `90s-`, `-1h`, `1.5m-4m`; a single length is met to the nearest second.

    Raises:
        InputError: it is none of these, or ends before it begins.
    """
    first, last = _ends(text, _LENGTH, "length", "2:00-5:00, 90s-, -1.5h or 3:30")
    ends = (_seconds(first) if first else None, _seconds(last) if last else None)
    _range(ends, "length", 0, MAX_SECONDS)
    if first and first == text.strip():
        exact = _seconds(first)
        return max(0.0, exact - 0.5), exact + 0.5
    return ends


def parse_since(text: str, *, now: datetime | None = None) -> datetime:
    """Read `7d`, `2w`, `36h`, a day or a time in ISO 8601 (local if it names no zone) → UTC.

    Raises:
        InputError: it is none of these.
    """
    given = text.strip()
    try:
        age = re.fullmatch(r"(\d{1,9})([hdw])", given)
        if age:
            return (now or datetime.now(UTC)).astimezone(UTC) - int(age[1]) * _AGES[age[2]]
        return datetime.fromisoformat(given).astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(
            f"the time {text!r} cannot be read: write it like 7d, 2w, 36h, 2026-01-31 or "
            "2026-01-31T18:00"
        ) from error


def _ends(text: str, one: str, name: str, spellings: str) -> tuple[str | None, str | None]:
    """Split a range; a single value is both ends."""
    given = text.strip()
    if re.fullmatch(one, given, re.ASCII):
        return given, given
    both = re.fullmatch(rf"(?P<first>{one})?{_DASH}(?P<last>{one})?", given, re.ASCII)
    if both is None or not (both["first"] or both["last"]):
        raise InputError(f"the {name} {text!r} cannot be read: write it like {spellings}")
    return both["first"], both["last"]


def _seconds(text: str) -> float:
    *larger, seconds = text.split(":")
    if larger:
        hours, minutes = ([0, *map(int, larger)])[-2:]
        return 3600.0 * hours + 60.0 * minutes + float(seconds)
    number, unit = re.fullmatch(r"([\d.]+)\s*([a-z]*)", text, re.ASCII).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]
