"""Which tracks may answer: filters as SQL, on a real store."""

from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clap_musicgen.audio.files import Tags
from clap_musicgen.errors import InputError, InputTypeError, LibraryQueryError
from clap_musicgen.library.filters import (
    MAX_TEXT,
    Filters,
    parse_lengths,
    parse_since,
    parse_years,
    sql,
)
from clap_musicgen.library.folding import fold
from clap_musicgen.library.paths import path_key
from clap_musicgen.library.rows import Clips, NewTrack, Summary
from clap_musicgen.library.store import Store

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
ARTISTS = (
    "Nina Simone", "NINA SIMONE", "Beyoncé", "Beyonce\u0301", "Motörhead", "motorhead", "",
    "O'Hara", "'; DROP TABLE tracks; --", "a*b", "a.b", "line\nbreak", "100% \\ _", "日本 한국",
)  # fmt: skip
FOLDERS = ("/music", "/music/a", "/music/a b", "/music/a'b", "/musical", "/music/ü\\n")


class Row(NamedTuple):
    path: str
    artist: str
    album: str
    genre: str
    year: int | None
    duration: float
    added: datetime

    @property
    def key(self) -> str:
        return path_key(self.path)


def rows() -> list[Row]:
    return [
        Row(
            f"{FOLDERS[number % len(FOLDERS)]}/{number}.mp3",
            artist,
            ARTISTS[(5 * number + 3) % len(ARTISTS)],
            ("Jazz", "jazz", "Heavy Metal", "")[number % 4],
            None if number % 5 == 0 else 1955 + 3 * number,
            30.0 * number + 0.25,
            NOW - timedelta(days=number, seconds=1),
        )
        for number, artist in enumerate(ARTISTS)
    ]


ROWS = rows()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.create(tmp_path_factory.mktemp("filters"), dim=4)
    store.commit([_new(row) for row in ROWS])
    return store


def _new(row: Row) -> NewTrack:
    vector = np.eye(4, dtype=np.float32)[0]
    return NewTrack(
        row.path,
        Tags(title="", artist=row.artist, album=row.album, genre=row.genre, year=row.year),
        size=1,
        mtime_ns=1,
        content=row.key,
        summary=Summary(row.duration, "", row.added, vector),
        clips=Clips(np.zeros(1), np.ones(1), vector[None]),
    )


def found(store: Store, filters: Filters, where: str | None = None) -> list[str]:
    """Paths that pass, by the store."""
    condition = sql(filters, where, now=NOW)
    keys = {row.key for row in ROWS} if condition is None else set(store.keys_where(condition))
    return [row.path for row in ROWS if row.key in keys]


def slow(filters: Filters) -> list[str]:
    """Paths that pass, one row and one filter after the other."""
    return [row.path for row in ROWS if passes(row, filters)]


def passes(row: Row, filters: Filters) -> bool:
    for name in ("artist", "album", "genre"):
        wanted = listed(getattr(filters, name))
        if wanted and not any(fits(getattr(row, name), text) for text in wanted):
            return False
    for value, (first, last) in ((row.year, filters.year), (row.duration, filters.duration)):
        if (first is not None or last is not None) and value is None:
            return False
        if first is not None and value is not None and value < first:
            return False
        if last is not None and value is not None and value > last:
            return False
    roots = [os.path.normpath(root) for root in listed(filters.under)]
    if roots and not any(f"{row.path}/".startswith(f"{root.rstrip('/')}/") for root in roots):
        return False
    since = filters.added_since
    return not isinstance(since, datetime) or row.added >= since


def listed(texts: object) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)  # type: ignore[call-overload]


def fits(value: str, wanted: str) -> bool:
    """Whether a value is the wanted text, `*` standing for anything."""
    if value == wanted:
        return True
    parts = [re.escape(fold(part)) for part in wanted.strip().split("*")]
    return re.fullmatch(".*".join(parts), fold(value), re.DOTALL) is not None


wild = st.one_of(
    st.sampled_from([*ARTISTS, "nina*", "*E", "*", "a?b", "*o*", "B*nc*", "x", "jazz", "* metal"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    st.text(st.sampled_from("abno*'\\\"%_.;-\n\0 é()[]"), max_size=10),
)
texts = st.one_of(wild, st.lists(wild, max_size=3))
years = st.one_of(st.none(), st.integers(1950, 2000))
lengths = st.one_of(st.none(), st.floats(0, 500), st.sampled_from([row.duration for row in ROWS]))
times = st.one_of(st.none(), st.sampled_from([row.added for row in ROWS]))
folders = st.one_of(
    st.sampled_from([*FOLDERS, "/", "/music/", "/music/.//a", "/none", ROWS[3].path]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).map(
        lambda text: f"/music/{text}"
    ),
)


def in_order(ends: tuple[float | None, float | None]) -> bool:
    return ends[0] is None or ends[1] is None or ends[0] <= ends[1]


questions = st.builds(
    Filters,
    artist=texts,
    album=texts,
    genre=st.one_of(st.just(()), texts),
    year=st.tuples(years, years).filter(in_order),
    duration=st.tuples(lengths, lengths).filter(in_order),
    under=st.lists(folders, max_size=2),
    added_since=times,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(questions)
def test_the_store_finds_what_the_slow_way_finds(store: Store, filters: Filters) -> None:
    assert found(store, filters) == slow(filters)
    for name in ("artist", "under", "year", "duration", "added_since"):  # each for itself
        alone = Filters(**{name: getattr(filters, name)})
        assert found(store, alone) == slow(alone)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_matches_nothing_but_itself(store: Store, text: str) -> None:
    for column in ("artist", "album", "genre"):
        alone = Filters(**{column: text})  # type: ignore[arg-type]
        assert found(store, alone) == slow(alone)
    assert store.count_tracks() == len(ROWS)


def test_every_artist_finds_itself(store: Store) -> None:
    for row in ROWS:
        assert row.path in found(store, Filters(artist=row.artist, under=row.path))


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (Filters(), 14),
        (Filters(artist="nina simone"), 2),
        (Filters(artist="BEYONCE"), 2),
        (Filters(artist=["motörhead", "o'hara"]), 3),
        (Filters(artist="*o*", genre="JAZZ"), 5),
        (Filters(artist=""), 1),
        (Filters(artist=[], album=()), 14),
        (Filters(artist="100% \\ _"), 1),
        (Filters(artist="100%*"), 1),
        (Filters(artist="a?b"), 0),
        (Filters(artist="a*b"), 2),
        (Filters(year=(1958, 1964)), 3),
        (Filters(year=(None, None)), 14),
        (Filters(duration=(30.25, 60.25)), 2),
        (Filters(under="/music"), 12),
        (Filters(under=["/music/a", "/musical"]), 5),
        (Filters(added_since="3d"), 3),
        (Filters(added_since=NOW - timedelta(days=3)), 3),
        (Filters(added_since=datetime(1, 2, 3, tzinfo=UTC)), 14),
        (Filters(added_since=datetime(9999, 2, 3, tzinfo=UTC)), 0),
        (Filters(artist=["x" * MAX_TEXT] * 10), 0),
        (Filters(artist=["q*"] * 3000), 0),
    ],
)
def test_filters(store: Store, filters: Filters, count: int) -> None:
    assert len(found(store, filters)) == count


def test_bytes_of_a_name_that_are_not_utf8(tmp_path: Path) -> None:
    store = Store.create(tmp_path, dim=4)
    folder = os.fsdecode(b"/music/caf\xe9")
    store.commit([_new(replace_path(f"{folder}/1.mp3")), _new(replace_path("/music/2.mp3"))])
    condition = sql(Filters(under=folder))
    assert condition is not None
    assert store.keys_where(condition) == [path_key(f"{folder}/1.mp3")]


def replace_path(path: str) -> Row:
    return ROWS[0]._replace(path=path)


def test_filters_and_a_condition_of_ones_own(store: Store) -> None:
    assert sql(None) is None
    assert sql(Filters()) is None
    assert sql(Filters(), "year > 1960") == "year > 1960"
    either = found(store, Filters(artist="*i*"), "year < 1959 OR year > 1960")
    assert either == [
        row.path
        for row in ROWS
        if "i" in fold(row.artist) and row.year is not None and not 1959 <= row.year <= 1960
    ]
    with pytest.raises(LibraryQueryError):
        store.keys_where(sql(Filters(artist="x"), "nonsense = ") or "")


@pytest.mark.parametrize(
    ("filters", "error", "message"),
    [
        (Filters(artist=3), InputTypeError, "artist must be a string or a list of strings, not 3"),  # type: ignore[arg-type]
        (Filters(genre=["a", None]), InputTypeError, "genre must be"),  # type: ignore[list-item]
        (Filters(album="x" * 501), InputError, "has 501 characters"),
        (Filters(artist=["x" * 400] * 30), InputError, "the 30 texts for artist"),
        (Filters(artist="\udcff"), InputError, "not valid Unicode"),
        (Filters(under=""), InputError, "under is empty"),
        (Filters(under=b"/music"), InputTypeError, "under must be"),  # type: ignore[arg-type]
        (Filters(year=1960), InputTypeError, "year must be a pair"),  # type: ignore[arg-type]
        (Filters(year=("1960", None)), InputTypeError, "pair of whole numbers"),  # type: ignore[arg-type]
        (Filters(year=(1960.5, None)), InputTypeError, "pair of whole numbers"),  # type: ignore[arg-type]
        (Filters(year=(True, None)), InputTypeError, "pair of whole numbers"),
        (Filters(year=(1970, 1960)), InputError, "year ends before it begins: 1970 to 1960"),
        (Filters(year=(None, 10**30)), InputError, "year must lie from -9999 to 9999"),
        (Filters(duration=(float("nan"), None)), InputError, "duration must lie from 0"),
        (Filters(duration=(-1, None)), InputError, "duration must lie from 0"),
        (Filters(duration=(None, float("inf"))), InputError, "duration must lie from 0"),
        (Filters(added_since=7), InputTypeError, "added_since must be a date"),  # type: ignore[arg-type]
        (Filters(added_since="yesterday"), InputError, "'yesterday' cannot be read"),
        ({"artist": "x"}, InputTypeError, "filters must be a Filters, not dict"),
    ],
)
def test_a_filter_that_cannot_be_used(
    filters: Filters, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        sql(filters)


def test_a_condition_is_text() -> None:
    with pytest.raises(InputTypeError, match="where must be a string, not int"):
        sql(None, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("1960-1969", (1960, 1969)),
        ("1960–1969", (1960, 1969)),
        (" 1960 - ", (1960, None)),
        ("-1969", (None, 1969)),
        ("1969", (1969, 1969)),
        ("1960s", (1960, 1969)),
        ("0-1", (0, 1)),
    ],
)
def test_years(text: str, years: tuple[int | None, int | None]) -> None:
    assert parse_years(text) == years


@pytest.mark.parametrize("text", ["", "-", "sixties", "1965s", "60s", "1-2-3", "19690", "１９６０"])
def test_what_are_no_years(text: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"year {text!r} cannot be read")):
        parse_years(text)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("2:00-5:00", (120, 300)),
        ("90s-", (90, None)),
        ("-1h", (None, 3600)),
        ("1.5m - 4min", (90, 240)),
        ("1:02:03-", (3723, None)),
        ("90-120", (90, 120)),
        ("-0:30.5", (None, 30.5)),
        ("3:30", (209.5, 210.5)),
        ("0", (0, 0.5)),
        ("5-5", (5, 5)),
    ],
)
def test_lengths(text: str, ends: tuple[float | None, float | None]) -> None:
    assert parse_lengths(text) == ends


@pytest.mark.parametrize("text", ["", "-", "long", "2:0", "1:2:3:4", "5 parsecs", "-5-", "1e3"])
def test_what_are_no_lengths(text: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"length {text!r} cannot be read")):
        parse_lengths(text)


def test_ranges_that_end_before_they_begin() -> None:
    with pytest.raises(InputError, match="year ends before it begins"):
        parse_years("1970-1960")
    with pytest.raises(InputError, match="length ends before it begins"):
        parse_lengths("5:00-2:00")
    with pytest.raises(InputError, match="length must lie"):
        parse_lengths("9" * 400)


def test_times() -> None:
    assert parse_since("7d", now=NOW) == NOW - timedelta(days=7)
    assert parse_since(" 2w ", now=NOW) == NOW - timedelta(days=14)
    assert parse_since("36h", now=NOW) == NOW - timedelta(hours=36)
    assert parse_since("2026-01-31T18:00+02:00") == datetime(2026, 1, 31, 16, tzinfo=UTC)
    assert parse_since("2026-01-31") == datetime(2026, 1, 31).astimezone(UTC)
    assert abs(parse_since("0d") - datetime.now(UTC)) < timedelta(minutes=5)
    day = sql(Filters(added_since=date(2026, 1, 31)))
    assert day == sql(Filters(added_since=datetime(2026, 1, 31)))
    there = datetime(2026, 1, 31, 1, tzinfo=timezone(timedelta(hours=5)))
    assert sql(Filters(added_since=there)) == "added >= timestamp '2026-01-30 20:00:00'"


@pytest.mark.parametrize(
    "text", ["", "7", "7y", "d", "999999999w", "31.1.2026", "2026-13-01", "-7d"]
)
def test_what_are_no_times(text: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"time {text!r} cannot be read")):
        parse_since(text, now=NOW)


@given(st.text(st.sampled_from("0129:-–.smhdw T"), max_size=12))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    for read in (parse_years, parse_lengths):
        try:
            ends = read(text)
        except InputError:
            continue
        assert in_order(ends)
        assert ends != (None, None)
    try:
        moment = parse_since(text, now=NOW)
    except InputError:
        return
    assert moment.tzinfo is UTC
