"""The store of record: transactions, sweeping, versions, rows that come back as they went in."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_musicgen.audio.files import Tags
from clap_musicgen.embedding import mean_direction, unit
from clap_musicgen.errors import LibraryError
from clap_musicgen.library.paths import path_key
from clap_musicgen.library.rows import Clips, NewTrack, Summary, TrackRows, packed, track_table
from clap_musicgen.library.store import CLIPS, TRACKS, Known, Store
from clap_musicgen.library.tables import Table, allowed_files

if TYPE_CHECKING:
    from pathlib import Path

DIM = 4
ADDED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def new_track(path: str, content: str, *, copy: bool = False, clips: int = 3) -> NewTrack:
    """A track whose vectors follow from its content."""
    rng = np.random.default_rng(int(content, 16))
    vectors = unit(rng.normal(size=(clips, DIM)))
    starts = np.arange(clips, dtype=np.float64)
    mean = mean_direction(vectors)
    return NewTrack(
        path,
        tags=Tags(title=f"title of {content}", year=1999),
        size=len(path),
        mtime_ns=7,
        content=content,
        summary=Summary(float(clips), "", ADDED, mean),
        clips=None if copy else Clips(starts, starts + 1, vectors),
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", dim=DIM)


def paths_of(store: Store) -> list[str]:
    return [track.path for track in store.tracks()]


def test_an_empty_store(store: Store) -> None:
    assert (store.count_tracks(), store.count_clips(), store.seconds()) == (0, 0, 0)
    assert len(store.known()) == 0
    assert store.texts() is None
    assert list(store.tracks()) == []
    assert store.summaries(["ab"]) == {}
    assert store.keys_where("year = 3") == []
    assert len(store.resident().ranked(unit(np.ones(DIM)), k=3).rows) == 0
    store.sweep()
    store.delete([])


def test_what_is_committed_comes_back(store: Store) -> None:
    track = new_track("/b.wav", "bb")
    store.commit([track, new_track("/a.wav", "aa", clips=1)])
    assert paths_of(store) == ["/a.wav", "/b.wav"]
    assert (store.count_clips(), store.seconds()) == (4, 4.0)
    known = store.known()
    assert known.get(path_key("/b.wav")) == Known(6, 7, "bb")
    assert known.get(path_key("/c.wav")) is None
    assert known.has_content("bb")
    assert not known.has_content("b")
    summary = store.summaries(["bb", "cc"])["bb"]
    assert (summary.duration, summary.problem, summary.added) == (3.0, "", ADDED)
    np.testing.assert_allclose(summary.vector, track.summary.vector, atol=3e-4)
    assert store.keys_where("title = 'title of bb'") == [path_key("/b.wav")]
    state = store.resident()
    row = state.row_of_key[path_key("/b.wav")]
    assert track.clips is not None
    segments = state.segments(int(state.content_rows[row]))
    np.testing.assert_array_equal(segments.starts, track.clips.starts)
    np.testing.assert_allclose(segments.vectors, track.clips.vectors, atol=3e-4)
    np.testing.assert_allclose(np.linalg.norm(segments.vectors, axis=1), 1, atol=1e-6)


def test_many_keys_at_once(store: Store) -> None:
    tracks = [new_track(f"/{number}", f"{number:04x}", clips=1) for number in range(1200)]
    store.commit(tracks)
    assert len(store.summaries(track.content for track in tracks)) == 1200
    store.delete(path_key(track.path) for track in tracks[1:])
    store.sweep()
    assert (paths_of(store), store.count_clips()) == (["/0"], 1)


def test_clips_without_a_track_are_invisible_and_swept(store: Store) -> None:
    store.commit([new_track("/a", "aa"), new_track("/b", "bb"), new_track("/c", "bb", copy=True)])
    store.delete([path_key("/a"), path_key("/c")])  # as if killed before the tracks were written
    state = store.resident()
    assert [track.path for track in state.tracks] == ["/b"]
    assert list(state.row_of_content) == ["bb"]
    assert store.count_clips() == 6
    store.sweep()
    assert store.count_clips() == 3


def test_a_track_whose_clips_are_gone_is_one_segment(store: Store) -> None:
    store.commit([new_track("/a", "aa"), new_track("/b", "bb", copy=True)])
    starts, ends = store.resident().best_segments(np.array([0, 1]), unit(np.ones(DIM)))
    assert (starts[1], ends[1]) == (0.0, 3.0)
    assert ends[0] - starts[0] == 1.0


def test_a_store_seen_twice(store: Store) -> None:
    other = Store(store.folder, dim=DIM)
    before = other.version()
    store.commit([new_track("/a", "aa")])
    assert other.version() > before
    assert paths_of(other) == ["/a"]
    assert other.resident().version == other.version()


def test_a_state_is_never_older_than_it_says(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Store(store.folder, dim=DIM)
    read, count = Store._by_path, 0

    def write_then_read(self: Store, columns: list[str]) -> object:
        nonlocal count
        count += 1
        writer.commit([new_track(f"/{count}", f"{count:02x}")])
        return read(self, columns)

    monkeypatch.setattr(Store, "_by_path", write_then_read)
    state = store.resident()
    assert [track.path for track in state.tracks] == ["/1"]
    assert len(state.segments(0).starts) == 3
    assert state.version < store.version()  # so that the next search reads anew


def test_a_reader_starts_over_when_the_state_it_reads_is_cleared_away(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Store(store.folder, dim=DIM)
    query, failures = Table._query, 0

    def fail_once(self: Table, columns: list[str], where: str | None) -> object:
        nonlocal failures
        failures += 1
        if failures == 1:
            writer.commit([new_track("/a", "aa")])
            raise OSError("a file is gone")
        return query(self, columns, where)

    monkeypatch.setattr(Table, "_query", fail_once)
    assert paths_of(store) == ["/a"]
    failures = 0
    monkeypatch.setattr(writer, "commit", lambda _: None)
    with pytest.raises(LibraryError, match="a file is gone"):
        store.tracks()


def test_what_replaces_nothing_is_appended(store: Store) -> None:
    store.commit([replace(new_track("/a", "aa"), replaces=False)])
    before = store.version()
    store.commit([replace(new_track("/b", "bb"), replaces=False)])
    assert paths_of(store) == ["/a", "/b"]
    store.commit([replace(new_track("/a", "cc"), replaces=True)])
    assert [track.content for track in store.tracks()] == ["cc", "bb"]
    assert store.version() > before


def test_texts_replace_each_other(store: Store) -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(3, DIM)))
    store.write_texts(["a", "b'c", "ü"], vectors)
    store.write_texts(["d", "e"], vectors[:2])
    texts, found = store.texts() or ([], vectors)
    assert texts == ["d", "e"]
    np.testing.assert_allclose(found, vectors[:2], atol=3e-4)


def test_rows_are_moved_from_store_to_store_bit_for_bit(store: Store, tmp_path: Path) -> None:
    store.commit([new_track(f"/{number}", f"{number:02x}") for number in range(20)])
    other = Store.create(tmp_path / "other", dim=DIM)
    tables = [pa.Table.from_batches(store.batches(name)) for name in (TRACKS, CLIPS)]
    other.write_rows(*tables)
    other.write_rows(tables[0], tables[1].slice(0, 0))  # the same again
    for name, table in zip((TRACKS, CLIPS), tables, strict=True):
        moved = pa.Table.from_batches(other.batches(name))
        key = [("key", "ascending")] if name == TRACKS else [("content", "ascending")]
        assert moved.sort_by(key).equals(table.sort_by(key))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_many_files_are_merged_and_old_states_cleared_away(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clap_musicgen.library.store.MAX_FRAGMENTS", 4)
    for number in range(11):
        store.commit([replace(new_track(f"/{number}", f"{number:02x}"), replaces=False)])
    data = list((tmp := tmp_path / "store" / "tracks.lance" / "data").iterdir())
    assert tmp.is_dir()
    assert len(paths_of(store)) == 11
    assert store.count_clips() == 33
    assert len(data) <= 11 + 3  # the merged ones stay for those who are reading them


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_any_sequence_of_changes_against_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    store = Store.create(tmp_path_factory.mktemp("store"), dim=DIM)
    twin: dict[str, str] = {}
    held: set[str] = set()
    for _ in range(data.draw(st.integers(1, 6))):
        changes = data.draw(
            st.dictionaries(
                st.sampled_from(["/a", "/b", "/c", "/d"]), st.sampled_from(["aa", "bb"])
            )
        )
        group, brought = [], set(held)
        for path, content in changes.items():
            group.append(new_track(path, content, copy=content in brought))
            brought.add(content)
        store.commit(group)
        twin |= changes
        deleted = data.draw(st.sets(st.sampled_from(["/a", "/b", "/c", "/d"])))
        store.delete(map(path_key, deleted))
        twin = {path: content for path, content in twin.items() if path not in deleted}
        store.sweep()
        held = set(twin.values())
        assert {track.path: track.content for track in store.tracks()} == twin
        assert store.count_clips() == 3 * len(held)
        state = store.resident()
        assert [track.path for track in state.tracks] == sorted(twin)


@given(st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=1, max_size=9))
def test_stored_vectors_stay_as_they_are_however_often_they_are_copied(
    vectors: list[list[float]],
) -> None:
    once = packed(unit(np.asarray(vectors)))
    read = unit(once.astype(np.float32))
    np.testing.assert_array_equal(packed(read), once)
    np.testing.assert_allclose(read, unit(np.asarray(vectors)), atol=2e-3)


def test_many_rows_may_lie_in_more_files() -> None:
    assert allowed_files(0, 64) == 64
    assert 64 < allowed_files(100_000, 64) < allowed_files(10**6, 64) == allowed_files(10**9, 64)


def test_clips_are_read_anew_when_the_version_they_lie_in_is_cleared_away(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clap_musicgen.library.tables.KEEP_VERSIONS", timedelta(milliseconds=1))
    store.commit([new_track("/a", "aa"), new_track("/b", "bb")])
    state = store.resident()
    before = state.segments(1)
    writer = Store(store.folder, dim=DIM)
    writer.delete([path_key("/a")])
    writer.sweep()
    writer.compact()
    after = state.segments(1)
    np.testing.assert_array_equal(after.vectors, before.vectors)
    assert len(state.segments(0).starts) == 0  # removed since
    assert len(state.ranked(unit(np.ones(DIM)), k=2).rows) == 2


@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name), st.text())
def test_rows_keep_any_path_and_text(name: bytes, text: str) -> None:
    path = os.fsdecode(b"/" + name)
    tags = Tags(title=text, artist=text, album=text, genre=text, year=None)
    track = replace(new_track(path, "aa"), tags=tags)
    row = TrackRows(track_table([track], DIM))[0]
    assert (row.path, row.title, row.artist, row.album, row.genre) == (path, *[text] * 4)
    assert row.year is None


def test_track_rows_are_a_sequence() -> None:
    table = track_table([new_track(f"/{number}", f"{number:02x}") for number in range(4)], DIM)
    rows = TrackRows(table)
    assert len(rows) == 4
    assert rows[-1].path == "/3"
    assert [track.path for track in rows[1:3]] == ["/1", "/2"]
    with pytest.raises(IndexError):
        rows[4]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_waits_for_a_transaction(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tidy = store._tidy
    main = threading.get_ident()

    def strike() -> None:
        signal.pthread_kill(main, signal.SIGINT)
        threading.Event().wait(0.05)
        tidy()
        told.append("tidied")

    told: list[str] = []
    monkeypatch.setattr(store, "_tidy", strike)
    with pytest.raises(KeyboardInterrupt):
        store.commit([new_track("/a", "aa")])
    assert told == ["tidied"]
    assert (paths_of(store), store.count_clips()) == (["/a"], 3)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_errors_carry_the_path_and_the_cause(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"cannot open the library '.*absent'.*not found"):
        Store(tmp_path / "absent", dim=DIM)
    with pytest.raises(ValueError, match="not hashes"):
        Store.create(tmp_path / "store", dim=DIM).delete(["' OR 1=1"])
