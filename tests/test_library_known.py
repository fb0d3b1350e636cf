"""Rows by text, against dictionaries."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_musicgen.library import known
from clap_musicgen.library.known import Known, KnownFiles, RowOf

TEXTS = st.lists(st.text(max_size=20) | st.text("ab", max_size=9), max_size=40)


@given(TEXTS, TEXTS)
def test_row_of_is_a_dictionary_of_first_rows(texts: list[str], others: list[str]) -> None:
    twin: dict[str, int] = {}
    for row, text in enumerate(texts):
        twin.setdefault(text, row)
    found = RowOf(pa.array(texts, pa.string()))
    assert len(found) == len(texts)
    assert list(found) == texts
    for text in [*texts, *others, ""]:
        assert found.get(text) == twin.get(text)
        assert (text in found) == (text in twin)
    assert found.rows(texts + others).tolist() == [twin.get(text, -1) for text in texts + others]
    with pytest.raises(KeyError):
        found["absent" * 9]


def test_texts_whose_hashes_collide_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = known._hashes
    monkeypatch.setattr(known, "_hashes", lambda texts: hashes(texts) * 0)
    found = RowOf(pa.array(["b", "a", "b"]))
    assert (found.get("a"), found.get("b"), found.get("c")) == (1, 0, None)


def test_known_files() -> None:
    table = pa.table(
        {"key": ["k1", "k2", "k3"], "size": [1, 2, 3], "mtime_ns": [4, 5, 6], "content": [*"aba"]}
    )
    files = KnownFiles(pa.concat_tables([table.slice(0, 2), table.slice(2)]))
    assert len(files) == 3
    assert [files.get(key) for key in ("k3", "k2", "k4")] == [
        Known(3, 6, "a"),
        Known(2, 5, "b"),
        None,
    ]
    assert [files.has_content(content) for content in "abc"] == [True, True, False]
    empty = KnownFiles(table.slice(0, 0))
    assert (len(empty), empty.get("k1"), empty.has_content("a")) == (0, None, False)
