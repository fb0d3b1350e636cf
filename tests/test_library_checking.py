"""Checking and repairing: every kind of flaw is found, named, and repaired without further loss."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_musicgen.cli.maintaining import _print_check
from clap_musicgen.errors import LibraryBusyError, LibraryError
from clap_musicgen.library.checking import CheckReport, check_library
from clap_musicgen.library.folder import writing
from clap_musicgen.library.salvaging import check_damage
from clap_musicgen.library.store import CLIPS, TEXTS, TRACKS, Store
from made_library import (
    DIM,
    content_of,
    data_files,
    make,
    make_some,
    rows_in,
    table_of,
    track_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def library(tmp_path: Path) -> Path:
    make_some(tmp_path / "library")
    return tmp_path / "library"


def kinds(report: CheckReport) -> list[str]:
    return [finding.kind for finding in report.findings]


def change_tracks(library: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Rewrite the rows of tracks as dictionaries."""
    table = table_of(library, TRACKS)
    plain = pa.Table.from_batches(table.batches()).sort_by("raw_path").to_pylist()
    change(plain)
    table.overwrite(pa.Table.from_pylist(plain, schema=table.schema))


def assert_repaired(library: Path, *expected: str, lost: tuple[str, ...] = ()) -> None:
    """It is found, repaired, and then found no more; only what is lost is missing."""
    before = rows_in(library)[0]["raw_path"].to_pylist() if "table" not in expected else None
    found = check_library(library)
    assert sorted(set(kinds(found))) == sorted(expected)
    assert found.lost == lost
    repaired = check_library(library, repair=True)
    assert repaired.sound
    assert set(expected) <= set(kinds(repaired))
    assert all(finding.mended for finding in repaired.findings)
    again = check_library(library)
    assert again.findings == ()
    assert (again.tracks, again.clips) == (repaired.tracks, repaired.clips)
    if before is not None:
        assert set(rows_in(library)[0]["raw_path"].to_pylist()) == set(before) - set(
            map(os.fsencode, lost)
        )


def test_a_sound_library_is_sound_and_repairing_it_changes_nothing(library: Path) -> None:
    report = check_library(library)
    assert (report.sound, report.findings, report.lost) == (True, (), ())
    assert (report.tracks, report.clips) == (7, 18)
    before, version = rows_in(library), Store(library, dim=DIM).version()
    assert check_library(library, repair=True) == report
    assert Store(library, dim=DIM).version() == version
    assert rows_in(library) == before


def test_an_empty_library_is_sound(tmp_path: Path) -> None:
    make(tmp_path / "empty")
    assert check_library(tmp_path / "empty") == CheckReport(str(tmp_path / "empty"), 0, 0, ())


def test_clips_without_a_track_are_harmless_and_are_removed(library: Path) -> None:
    whole = rows_in(library)
    clips = rows_in(library)[1].slice(0, 2)
    strange = pa.array([content_of("stranger")] * 2)
    table_of(library, CLIPS).add(clips.set_column(0, clips.schema.field(0), strange))
    report = check_library(library)
    assert kinds(report) == ["orphans"]
    assert report.sound
    assert_repaired(library, "orphans")
    assert rows_in(library) == whole


def test_a_track_without_clips_is_taken_out_with_its_copies(library: Path) -> None:
    table_of(library, CLIPS).delete(f"content = '{content_of('0')}'")
    assert_repaired(library, "clips", lost=("/music/0.wav", "/music/copy.wav"))


@pytest.mark.parametrize("condition", ["start = 0.0", "start = 1.0", "start = 2.0"])
def test_a_gap_at_the_beginning_the_middle_and_the_end_is_found(
    library: Path, condition: str
) -> None:
    table_of(library, CLIPS).delete(f"content = '{content_of('3')}' AND {condition}")
    assert_repaired(library, "clips", lost=("/music/3.wav",))


def test_clips_that_are_there_twice_are_there_once_afterwards(library: Path) -> None:
    whole = rows_in(library)
    twice = whole[1].filter(pa.compute.equal(whole[1]["content"], content_of("2")))
    table_of(library, CLIPS).add(twice)
    table_of(library, CLIPS).add(whole[1].slice(0, 1))
    assert_repaired(library, "twice")
    assert rows_in(library) == whole


def test_clips_in_several_places_and_out_of_order_are_whole(library: Path) -> None:
    whole = rows_in(library)
    table = table_of(library, CLIPS)
    mine = whole[1].filter(pa.compute.equal(whole[1]["content"], content_of("2")))
    table.delete(f"content = '{content_of('2')}'")
    for place in (2, 0, 1):
        table.add(mine.slice(place, 1))
        table.add(whole[1].slice(0, 0))
    table.add(pa.concat_tables([mine.slice(1, 2), mine.slice(0, 1)]).slice(0, 0))
    assert check_library(library).sound
    assert rows_in(library) == whole


@pytest.mark.parametrize("value", [float("inf"), 0.0, 3.0])
def test_clips_that_are_no_unit_vectors_are_found(library: Path, value: float) -> None:
    table = table_of(library, CLIPS)
    clips = pa.Table.from_batches(table.batches())
    vectors = np.stack(clips["vector"].to_numpy(zero_copy_only=False))
    vectors[clips["content"].to_pylist().index(content_of("4"))] = value
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM)
    table.overwrite(clips.set_column(3, clips.schema.field("vector"), column))
    assert_repaired(library, "clips", lost=("/music/4.wav",))


def test_a_track_vector_that_is_not_the_mean_of_the_clips_is_computed_anew(library: Path) -> None:
    whole = rows_in(library)

    def change(plain: list[dict[str, Any]]) -> None:
        plain[1]["vector"] = plain[2]["vector"]
        plain[3]["vector"] = [float("-inf")] * DIM

    change_tracks(library, change)
    assert_repaired(library, "vector")
    tracks = rows_in(library)[0]
    assert tracks.drop_columns(["vector"]) == whole[0].drop_columns(["vector"])
    for mine, theirs in zip(tracks["vector"], whole[0]["vector"], strict=True):
        np.testing.assert_allclose(mine.values, theirs.values, atol=2e-3)


def test_a_row_that_is_not_found_under_its_path_gets_the_right_key(library: Path) -> None:
    whole = rows_in(library)

    def change(plain: list[dict[str, Any]]) -> None:
        plain[0]["key"] = plain[1]["key"]
        plain[4]["path"] = "something else"
        plain[5]["key"] = "'; DROP TABLE tracks"

    change_tracks(library, change)
    assert_repaired(library, "name")
    assert rows_in(library) == whole


def test_of_several_rows_of_a_path_the_newest_stays(library: Path) -> None:
    def change(plain: list[dict[str, Any]]) -> None:
        newer = dict(plain[1])
        newer["added"] = newer["added"].replace(year=2027)
        newer["title"] = "newer"
        plain[:0] = [newer, dict(plain[2])]

    change_tracks(library, change)
    assert check_library(library).tracks == 7
    assert_repaired(library, "twice")
    assert rows_in(library)[0]["title"].to_pylist()[1] == "newer"


@pytest.mark.parametrize(
    ("name", "value"),
    [("raw_path", b"relative.wav"), ("content", "not a hash"), ("duration", -1.0), ("size", -1)],
)
def test_a_row_that_makes_no_sense_is_taken_out(library: Path, name: str, value: object) -> None:
    def change(plain: list[dict[str, Any]]) -> None:
        plain[3][name] = value

    change_tracks(library, change)
    found = check_library(library)
    assert "track" in kinds(found)
    assert check_library(library, repair=True).sound
    assert check_library(library).findings == ()
    assert rows_in(library)[0].num_rows == 6


@pytest.mark.parametrize("harm", ["gone", "cut", "empty", "garbage"])
@pytest.mark.parametrize("name", [TRACKS, CLIPS])
def test_a_damaged_file_of_a_table_costs_only_its_own_tracks(
    library: Path, name: str, harm: str
) -> None:
    whole = rows_in(library)
    file = data_files(library, name)[1]  # tracks 2 and 3
    if harm == "gone":
        file.unlink()
    elif harm == "garbage":
        file.write_bytes(os.urandom(1) * file.stat().st_size)
    else:
        os.truncate(file, 0 if harm == "empty" else file.stat().st_size // 2)
    found = check_library(library)
    assert not found.sound
    assert kinds(found)[0] == "fragment"
    lost = ("/music/2.wav", "/music/3.wav")
    assert found.lost == (lost if name == CLIPS else ())  # their names are in the damaged file
    repaired = check_library(library, repair=True)
    assert repaired.sound
    assert repaired.tracks == 5
    assert check_library(library).findings == ()
    tracks, clips = rows_in(library)
    kept = pa.compute.invert(pa.compute.is_in(whole[0]["path"], pa.array(lost)))
    assert tracks == whole[0].filter(kept)
    assert clips.num_rows == 12
    store = Store(library, dim=DIM)
    store.commit([track_of(path, path[7]) for path in lost])
    assert rows_in(library) == whole
    assert check_library(library).sound


@pytest.mark.parametrize("name", [TRACKS, CLIPS])
def test_where_the_last_state_cannot_be_read_the_one_before_is_gone_back_to(
    library: Path, name: str
) -> None:
    newest = min((library / f"{name}.lance" / "_versions").glob("*.manifest"))
    os.truncate(newest, 10)
    found = check_library(library)
    assert not found.sound
    assert "table" in kinds(found)
    repaired = check_library(library, repair=True)
    assert repaired.sound
    assert check_library(library).findings == ()
    assert repaired.tracks == (6 if name == TRACKS else 5)
    make_one_more(library)
    assert check_library(library).sound


def make_one_more(library: Path) -> None:
    Store(library, dim=DIM).commit([track_of("/music/more.wav", "more")])
    assert "/music/more.wav" in rows_in(library)[0]["path"].to_pylist()


def test_a_table_that_is_gone_is_said_and_nothing_is_taken_out(library: Path) -> None:
    (library / "clips.lance").rename(library / "elsewhere")
    for repair in (False, True):
        report = check_library(library, repair=repair)
        assert not report.sound
        assert len(report.lost) == 7
    (library / "elsewhere").rename(library / "clips.lance")
    assert check_library(library).sound


def test_captions_that_cannot_be_read_are_dropped(library: Path) -> None:
    Store(library, dim=DIM).write_texts(["jazz"], np.eye(DIM, dtype=np.float32)[:1])
    assert check_library(library).sound
    for file in data_files(library, TEXTS):
        os.truncate(file, 10)
    assert_repaired(library, "texts")
    assert Store(library, dim=DIM).texts() is None


@pytest.mark.parametrize("lookup", ["content", None])
def test_an_index_that_cannot_be_read_is_left_behind(tmp_path: Path, lookup: str | None) -> None:
    tracks = [track_of(f"/music/{number}.wav", str(number), clips=30) for number in range(40)]
    make(tmp_path / "library", [tracks])
    table_of(tmp_path / "library", CLIPS).tidy(max_files=9, exact_up_to=300, lookup=lookup)
    whole = rows_in(tmp_path / "library")
    files = [*(tmp_path / "library" / "clips.lance" / "_indices").rglob("*.*")]
    assert files
    assert check_library(tmp_path / "library").findings == ()
    for file in files:
        os.truncate(file, file.stat().st_size // 2)
    assert_repaired(tmp_path / "library", "index")
    assert rows_in(tmp_path / "library") == whole


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": "x"}'])
def test_a_damaged_description_is_said(library: Path, text: str) -> None:
    (library / "library.json").write_text(text)
    for repair in (False, True):
        report = check_library(library, repair=repair)
        assert kinds(report) == ["description"]
        assert not report.sound
        assert "backup" in report.findings[0].detail


def test_a_description_of_another_library_or_a_newer_program_is_refused(library: Path) -> None:
    stated = json.loads((library / "library.json").read_text())
    (library / "library.json").write_text(json.dumps(stated | {"dim": 99}))
    with pytest.raises(LibraryError, match="length 99, but they have 8"):
        check_library(library, repair=True)
    (library / "library.json").write_text(json.dumps(stated | {"format": 99}))
    with pytest.raises(LibraryError, match="newer"):
        check_library(library)
    with pytest.raises(LibraryError, match="no library"):
        check_library(library / "nothing")


def test_a_repair_waits_for_no_writer(library: Path) -> None:
    with writing(library), pytest.raises(LibraryBusyError):
        check_library(library, repair=True)
    with writing(library):
        assert check_library(library).sound


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_no_damage(library: Path) -> None:
    data_files(library, CLIPS)[1].chmod(0)
    with pytest.raises(LibraryError, match="Permission denied"):
        check_library(library, repair=True)


@pytest.mark.parametrize(
    "cause", ["Permission denied (os error 13)", "Input/output error", "error trying to connect"]
)
def test_what_no_file_is_to_blame_for_is_no_damage(cause: str) -> None:
    error = LibraryError(f"cannot read the library '/music/library': {cause}")
    with pytest.raises(LibraryError):
        check_damage(error)
    check_damage(LibraryError("cannot read the library '/connect/forbidden/l': Not found: /x/y"))


def test_what_is_printed_names_the_lost_tracks(
    library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table_of(library, CLIPS).delete(f"content = '{content_of('3')}'")
    _print_check(check_library(library), repair=False)
    out = capsys.readouterr().out
    assert "not sound" in out
    assert "/music/3.wav" in out
    assert "--repair" in out
    _print_check(check_library(library, repair=True), repair=True)
    assert "index their folders again" in capsys.readouterr().out


@pytest.mark.slow
@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.sampled_from([TRACKS, CLIPS]), st.integers(0, 1), st.floats(0, 0.999)),
        min_size=1,
        max_size=3,
    ),
    st.integers(1, 255),
)
def test_whatever_bytes_are_changed_a_repair_ends_in_a_sound_library(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[str, int, float]], change: int
) -> None:
    library = tmp_path_factory.mktemp("fuzz") / "library"
    make_some(library, 4)
    for name, number, place in places:
        file = data_files(library, name)[number]
        content = bytearray(file.read_bytes())
        content[int(place * len(content))] ^= change
        file.write_bytes(content)
    assert check_library(library, repair=True).sound
    assert check_library(library).findings == ()
