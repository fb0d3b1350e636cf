"""Conditions that may come from strangers."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_musicgen.errors import LibraryQueryError
from clap_musicgen.library.conditions import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_TOKENS,
    check_condition,
)
from clap_musicgen.library.rows import FILTER_COLUMNS
from made_library import make_some

if TYPE_CHECKING:
    from clap_musicgen.library.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_some(tmp_path_factory.mktemp("conditions") / "library")


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("artist = 'Nina' AND year >= 1960", 7),
        ("lower(artist) like 'ni%' and not (year between 2000 and 2010)", 7),
        ("title IN ('title of 0', 'it''s; DROP TABLE') or path = '/music/3.wav'", 3),
        ("album IS NOT NULL AND duration<2.75", 0),
        ("added >= timestamp '2026-01-02 00:00:00' AND added < date '2026-01-03'", 7),
        ("true", 7),
    ],
)
def test_comparisons_pass_and_work(store: Store, where: str, count: int) -> None:
    check_condition(where)
    assert len(store.keys_where(where)) == count


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("length(replace(title, 'a', repeat('b', 100000))) > 0", "'length'"),
        ("regexp_like(title, '((a{1,100}){1,100}){1,100}')", "'regexp_like'"),
        ("title (1)", "'title'"),
        ("lower = 1", "'lower'"),
        ("timestamp > 1", "'timestamp'"),
        ("key = '0'", "'key'"),
        ("1+1 > 0", r"'\+'"),
        ("year > -1", "'-'"),
        ("year -- comment", "'-'"),
        ("title = 'open", '"\'"'),
        ('"title" = 1', "'\"'"),
        ("title = 'a'; DROP TABLE tracks", "';'"),
        ("(select 1) = 1", "'select'"),
        ("title = \x00", r"'\\x00'"),
        ("jährlich", "'j'|'ä'"),
        ("true) OR (true", "never began"),
        ("(" * (MAX_DEPTH + 1) + "true" + ")" * (MAX_DEPTH + 1), "deep"),
        ("NOT " * (MAX_DEPTH + 1) + "true", "deep"),
        ("year = " * MAX_TOKENS + "1", "200 are allowed"),
        ("title = '" + "a" * MAX_CHARACTERS + "'", "2000 are allowed"),
    ],
)
def test_anything_else_is_refused_with_the_way_out(where: str, told: str) -> None:
    with pytest.raises(LibraryQueryError, match=told) as caught:
        check_condition(where)
    assert "artist = 'Nina Simone' AND year >= 1960" in str(caught.value)
    assert len(str(caught.value)) < 500


_SIGNS = ["(", ")", ",", "=", "<>", "<", ">=", "'%a%'", "1960", "2.5"]
_NAMES = ["AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "BETWEEN", "TRUE", "date", "timestamp"]
_WORDS = st.sampled_from([*FILTER_COLUMNS, *_NAMES, "lower(", "upper(", *_SIGNS])


@settings(max_examples=60)
@given(st.lists(_WORDS, max_size=MAX_TOKENS // 2))
def test_what_passes_is_answered_or_refused_and_breaks_nothing(
    store: Store, words: list[str]
) -> None:
    where = " ".join(words)
    with suppress(LibraryQueryError):
        check_condition(where)
        assert len(store.keys_where(where)) <= 7
