"""Export and import: an exact round trip, and nothing believed that a file merely claims."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from clap_musicgen.errors import (
    ClapMusicGenError,
    InputError,
    LibraryBusyError,
    LibraryError,
    LibraryModelError,
)
from clap_musicgen.library import exchange, importing
from clap_musicgen.library.checking import check_library
from clap_musicgen.library.exchange import HEADER, export_library, read_header
from clap_musicgen.library.folder import read_description, write_description, writing
from clap_musicgen.library.importing import import_library
from clap_musicgen.library.store import CLIPS, Store
from made_library import (
    DESCRIBED,
    DIM,
    content_of,
    make,
    make_some,
    rows_in,
    table_of,
    track_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVERYTHING = tuple(sorted([f"/music/{number}.wav" for number in range(6)] + ["/music/copy.wav"]))


@pytest.fixture
def library(tmp_path: Path) -> Path:
    make_some(tmp_path / "library")
    return tmp_path / "library"


@pytest.fixture
def file(library: Path, tmp_path: Path) -> Path:
    export_library(library, tmp_path / "library.parquet")
    return tmp_path / "library.parquet"


def rewrite(file: Path, change: Callable[[list[dict[str, Any]]], None]) -> Path:
    """Change the rows of an export, as somebody might who means no good."""
    table = parquet.read_table(file)
    plain = sorted(table.to_pylist(), key=lambda row: str(row["path"]))
    change(plain)
    parquet.write_table(pa.Table.from_pylist(plain, schema=table.schema), file)
    return file


def test_a_round_trip_is_exact(library: Path, file: Path, tmp_path: Path) -> None:
    report = import_library(tmp_path / "new", file)
    assert (report.added, report.unchanged, report.failed) == (EVERYTHING, (), ())
    assert rows_in(tmp_path / "new") == rows_in(library)
    assert read_description(tmp_path / "new") == read_description(library) == read_header(file)
    assert check_library(tmp_path / "new").findings == ()
    again = import_library(tmp_path / "new", file)
    assert (again.added, again.unchanged) == ((), EVERYTHING)
    assert rows_in(tmp_path / "new") == rows_in(library)


def test_what_was_written_is_told_and_can_be_read_by_anybody(library: Path, tmp_path: Path) -> None:
    done = export_library(library, tmp_path / "a.parquet")
    assert (done.path, done.tracks, done.clips) == (str(tmp_path / "a.parquet"), 7, 21)
    assert done.bytes == (tmp_path / "a.parquet").stat().st_size
    table = parquet.read_table(tmp_path / "a.parquet")
    rows = {row["path"]: row for row in table.to_pylist()}
    assert rows["/music/copy.wav"]["clips"] == rows["/music/0.wav"]["clips"]
    assert [clip["start"] for clip in rows["/music/3.wav"]["clips"]] == [0.0, 1.0, 2.0]
    assert json.loads(table.schema.metadata[HEADER])["model"]["fingerprint"] == "made-1"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.parquet", "library"]


def test_an_empty_library_goes_out_and_in(tmp_path: Path) -> None:
    make(tmp_path / "empty")
    assert export_library(tmp_path / "empty", tmp_path / "e.parquet").tracks == 0
    assert import_library(tmp_path / "new", tmp_path / "e.parquet").added == ()
    assert rows_in(tmp_path / "new")[0].num_rows == 0


def test_an_export_replaces_an_export_and_nothing_else(library: Path, file: Path) -> None:
    make_one_more(library)
    assert export_library(library, file).tracks == 8
    for content in (b"", b"something dear to somebody", b"PAR1PAR1"):
        file.write_bytes(content)
        with pytest.raises(InputError, match="exists and is not the export"):
            export_library(library, file)
        assert file.read_bytes() == content
    with pytest.raises(LibraryError, match="cannot write"):
        export_library(library, file / "below")


def make_one_more(library: Path) -> None:
    Store(library, dim=DIM).commit([track_of("/music/more.wav", "more")])


def test_row_groups_are_small_and_a_content_may_span_batches(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "GROUP_TRACKS", 2)
    Store(library, dim=DIM).commit([track_of("/music/long.wav", "long", clips=9_000)])
    export_library(library, tmp_path / "a.parquet")
    metadata = parquet.ParquetFile(tmp_path / "a.parquet").metadata
    sizes = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    assert sizes == [2, 2, 2, 2]
    import_library(tmp_path / "new", tmp_path / "a.parquet")
    assert rows_in(tmp_path / "new") == rows_in(library)


def test_a_damaged_library_is_not_exported(library: Path, tmp_path: Path) -> None:
    table_of(library, CLIPS).delete(f"content = '{content_of('3')}'")
    with pytest.raises(LibraryError, match=r"1 of its contents have no clips.*check --repair"):
        export_library(library, tmp_path / "a.parquet")
    assert not (tmp_path / "a.parquet").exists()
    assert not (tmp_path / "a.parquet.new").exists()


def test_what_is_there_stays_and_copies_agree_with_it(
    library: Path, file: Path, tmp_path: Path
) -> None:
    store = make(tmp_path / "mine", [[track_of("/music/1.wav", "mine"), track_of("/my.wav", "0")]])
    report = import_library(tmp_path / "mine", file)
    assert report.unchanged == ("/music/1.wav",)
    assert len(report.added) == 6
    known = store.known()
    assert len(known) == 8
    assert store.count_clips() == 3 * 6
    assert check_library(tmp_path / "mine").findings == ()
    rows = {row["path"]: row for row in rows_in(tmp_path / "mine")[0].to_pylist()}
    assert rows["/my.wav"]["vector"] == rows["/music/copy.wav"]["vector"]
    assert rows["/music/1.wav"]["content"] == content_of("mine")


def test_an_interrupted_import_goes_on(
    library: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "GROUP_TRACKS", 2)
    export_library(library, file)

    def stop(progress: Any) -> None:
        if progress.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_library(tmp_path / "new", file, on_progress=stop)
    report = import_library(tmp_path / "new", file)
    assert (len(report.unchanged), len(report.added)) == (4, 3)
    assert rows_in(tmp_path / "new") == rows_in(library)


def test_clips_of_an_import_that_was_killed_are_not_there_twice(
    library: Path, file: Path, tmp_path: Path
) -> None:
    make(tmp_path / "new")
    table_of(tmp_path / "new", CLIPS).add(rows_in(library)[1].slice(0, 5))
    import_library(tmp_path / "new", file)
    assert rows_in(tmp_path / "new") == rows_in(library)


def test_another_model_another_kind_of_file_and_a_newer_one_are_refused(
    library: Path, file: Path, tmp_path: Path
) -> None:
    make(tmp_path / "other")
    (tmp_path / "other" / "library.json").unlink()
    write_description(tmp_path / "other", DESCRIBED.__class__(2, "other", DIM, 8_000, 1.0))
    with pytest.raises(LibraryModelError, match=r"made-1.*other"):
        import_library(tmp_path / "other", file)
    table = parquet.read_table(file)
    header = json.loads(table.schema.metadata[HEADER])
    strange: list[tuple[dict[bytes, bytes] | None, str]] = [
        (None, "not the export"),
        ({HEADER: b"{"}, "not the export"),
        ({HEADER: b"[]"}, "not the export"),
        ({HEADER: json.dumps(header | {"format": 9}).encode()}, "newer"),
        (
            {HEADER: json.dumps(header | {"model": header["model"] | {"dim": 10**9}}).encode()},
            "not",
        ),
        ({HEADER: json.dumps(header | {"model": header["model"] | {"dim": 9}}).encode()}, "not"),
    ]
    for metadata, words in strange:
        parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "s.parquet")
        with pytest.raises(LibraryError, match=words):
            import_library(tmp_path / "new", tmp_path / "s.parquet")
    parquet.write_table(table.drop_columns(["clips"]), tmp_path / "s.parquet")
    with pytest.raises(LibraryError, match="not the export"):
        import_library(tmp_path / "new", tmp_path / "s.parquet")
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_cut_off_absent_or_a_folder_is_refused(file: Path, tmp_path: Path) -> None:
    content = file.read_bytes()
    for size in (0, 3, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        with pytest.raises(LibraryError, match=r"library\.parquet"):
            import_library(tmp_path / "new", file)
    for strange in (tmp_path / "absent.parquet", tmp_path):
        with pytest.raises(LibraryError, match="cannot read"):
            import_library(tmp_path / "new", strange)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row.update(raw_path=b"relative.wav"), "path"),
        (lambda row: row.update(raw_path=b"/music/../etc/passwd"), "path"),
        (lambda row: row.update(raw_path=b"/a\0b"), "path"),
        (lambda row: row.update(raw_path=b""), "path"),
        (lambda row: row.update(path="/another.wav"), "two paths"),
        (lambda row: row.update(content="x' OR 'a' = 'a"), "not a hash"),
        (lambda row: row.update(title="x" * 10_001), "characters"),
        (lambda row: row.update(size=-1), "size"),
        (lambda row: row.update(duration=9.0), "end at 2.75 s of 9"),
        (lambda row: row.update(duration=float("nan")), "of nan"),
        (lambda row: row.update(clips=[]), "no clips"),
        (lambda row: row["clips"].pop(0), "begin at 1 s"),
        (lambda row: row["clips"].pop(1), "the next begins at 2"),
        (lambda row: row["clips"].reverse(), "begin at 2 s"),
        (lambda row: row["clips"][1].update(start=float("nan")), "no finite time"),
        (lambda row: row["clips"][1].update(end=0.5), "where it begins or before"),
        (lambda row: row["clips"][2].update(vector=[float("nan")] * DIM), "not finite"),
        (lambda row: row["clips"][2].update(vector=[None] * DIM), "not finite"),
        (lambda row: row["clips"][2].update(vector=[0.0] * DIM), "length 0, not 1"),
        (lambda row: row["clips"][2].update(vector=[2.0] + [0.0] * (DIM - 1)), "length 2, not 1"),
        (lambda row: row.update(vector=[1.0] + [0.0] * (DIM - 1)), "mean direction"),
        (lambda row: row.update(vector=[float("inf")] * DIM), "not finite"),
    ],
)
def test_a_bad_row_costs_only_itself(
    file: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    rewrite(file, lambda plain: change(plain[3]))
    report = import_library(tmp_path / "new", file)
    assert len(report.added) == 6
    assert "/music/3.wav" not in report.added
    ((_, reason),) = report.failed
    assert words in reason
    assert check_library(tmp_path / "new").findings == ()


def test_a_path_that_comes_twice_is_taken_once(file: Path, tmp_path: Path) -> None:
    rewrite(file, lambda plain: plain.append(dict(plain[2])))
    report = import_library(tmp_path / "new", file)
    assert report.added == EVERYTHING
    assert report.unchanged == ("/music/2.wav",)
    assert check_library(tmp_path / "new").findings == ()


def test_copies_in_a_file_that_disagree_are_made_to_agree(file: Path, tmp_path: Path) -> None:
    def change(plain: list[dict[str, Any]]) -> None:
        copy = next(row for row in plain if row["path"] == "/music/copy.wav")
        other = next(row for row in plain if row["path"] == "/music/5.wav")
        copy["clips"], copy["vector"] = other["clips"], other["vector"]

    rewrite(file, change)
    assert len(import_library(tmp_path / "new", file).added) == 7
    assert check_library(tmp_path / "new").findings == ()


def test_absurd_sizes_are_refused_before_they_are_read(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "MAX_GROUP_TRACKS", 5)
    report = import_library(tmp_path / "new", file)
    assert report.added == ()
    assert "claims 7 tracks" in report.failed[0][1]
    monkeypatch.undo()
    monkeypatch.setattr(importing, "MAX_GROUP_BYTES", 100)
    assert "bytes" in import_library(tmp_path / "new", file).failed[0][1]


def test_an_import_has_the_library_to_itself(file: Path, library: Path) -> None:
    with writing(library), pytest.raises(LibraryBusyError):
        import_library(library, file)


def test_a_writer_who_disturbs_an_export_is_noticed(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Store.batches

    def disturbed(store: Store, name: str, columns: Any = None) -> Any:
        if name == CLIPS:
            table_of(library, "tracks").delete("path = '/music/3.wav'")
            table_of(library, CLIPS).delete(f"content = '{content_of('3')}'")
        return read(store, name, columns)

    monkeypatch.setattr(Store, "batches", disturbed)
    with pytest.raises(LibraryBusyError, match="export it again"):
        export_library(library, tmp_path / "a.parquet")
    assert not (tmp_path / "a.parquet").exists()


@settings(max_examples=60)
@given(
    places=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), min_size=1, max_size=6),
    cut=st.none() | st.floats(0, 1),
)
def test_whatever_bytes_are_changed_nothing_unsound_comes_in(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[float, int]], cut: float | None
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    content = bytearray(_exported(tmp_path_factory))
    for place, change in places:
        content[int(place * len(content))] ^= change
    (folder / "x.parquet").write_bytes(content[: None if cut is None else int(cut * len(content))])
    try:
        report = import_library(folder / "new", folder / "x.parquet")
    except ClapMusicGenError as error:
        assert "x.parquet" in str(error)  # noqa: PT017 - either of two outcomes is right
        return
    state = check_library(folder / "new")
    assert state.findings == ()
    assert state.tracks == len(report.added)


_KEPT: list[bytes] = []


def _exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if not _KEPT:
        folder = tmp_path_factory.mktemp("kept")
        make_some(folder / "library")
        export_library(folder / "library", folder / "a.parquet")
        _KEPT.append((folder / "a.parquet").read_bytes())
    return _KEPT[0]


def test_the_schema_of_the_file_is_pinned() -> None:
    """Another program may rely on it; a change needs another `exchange.FORMAT`."""
    schema = exchange.file_schema(3)
    vector = "fixed_size_list<item: halffloat>[3]"
    assert str(schema.field("vector").type) == vector
    clip = f"struct<start: double not null, end: double not null, vector: {vector} not null>"
    assert str(schema.field("clips").type) == f"list<item: {clip}>"
    assert schema.names[0] == "raw_path"
    assert np.dtype(schema.field("vector").type.value_type.to_pandas_dtype()) == np.float16
