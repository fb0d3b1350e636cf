"""recipes/mini: MIDI files, windows cut from them, and variations whose labels stay true."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes" / "mini"))

import variation
from midi_file import DRUM_CHANNEL, Control, Note, Piece, read_piece, write_piece
from midi_window import (
    cut,
    only_channels,
    repeated,
    scaled_velocities,
    stretched,
    transposed,
    with_programs,
)

if TYPE_CHECKING:
    from captions import Labels


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    """Pieces whose notes do not overlap on one key, on a grid of 10 ms."""
    notes = []
    for channel in draw(st.lists(st.sampled_from([0, 3, DRUM_CHANNEL]), min_size=1, unique=True)):
        for pitch in draw(st.lists(st.integers(30, 90), min_size=1, max_size=4, unique=True)):
            now = 0
            gaps = st.lists(st.tuples(st.integers(0, 200), st.integers(5, 300)), max_size=6)
            for gap, length in draw(gaps.filter(bool)):
                start, now = now + gap, now + gap + length
                notes.append(Note(start / 100, now / 100, channel, pitch, 80, 0))
                now += 1
    notes.sort(key=lambda n: (n.start, n.channel, n.pitch))
    end = max(n.end for n in notes)
    bars = tuple(2.0 * k for k in range(int(end / 2) + 1))
    return Piece(tuple(notes), (), bars, ((0.0, 120.0),), end)


def ranges(piece: Piece) -> list[tuple[int, int, float, float]]:
    return [(n.channel, n.pitch, round(n.start, 3), round(n.end, 3)) for n in piece.notes]


# --- reading and writing


@given(pieces())
def test_what_is_written_is_read_again(tmp_path_factory: Any, piece: Piece) -> None:
    path = tmp_path_factory.mktemp("midi") / "piece.mid"
    write_piece(piece, path)
    again = read_piece(path)
    assert sorted(ranges(again)) == sorted(ranges(piece))
    assert again.duration == pytest.approx(piece.duration, abs=1e-3)


def midi_file(path: Path, *tracks: list[mido.Message]) -> Path:
    midi = mido.MidiFile(ticks_per_beat=480)
    midi.tracks.extend(mido.MidiTrack(track) for track in tracks)
    midi.save(str(path))
    return path


def note(pitch: int, *, channel: int = 0, wait: int = 0, length: int = 480) -> list[mido.Message]:
    return [
        mido.Message("note_on", note=pitch, channel=channel, time=wait),
        mido.Message("note_off", note=pitch, channel=channel, time=length),
    ]


def test_tempo_changes_and_metre_are_followed(tmp_path: Path) -> None:
    head = [
        mido.MetaMessage("time_signature", numerator=3, denominator=4),
        mido.MetaMessage("set_tempo", tempo=1_000_000),
        mido.MetaMessage("set_tempo", tempo=500_000, time=480),
    ]
    path = midi_file(tmp_path / "a.mid", head, note(60), [*note(62, wait=480, length=2400)])
    piece = read_piece(path)
    assert [r[1:] for r in ranges(piece)] == [(60, 0.0, 1.0), (62, 1.0, 3.5)]
    assert piece.bars == pytest.approx((0.0, 2.0))  # 1 + 0.5 + 0.5 s, the second bar is cut short
    assert piece.tempo_at(0.5) == 60.0
    assert piece.tempo_at(1.0) == 120.0


def test_tracks_that_share_a_channel_are_told_apart(tmp_path: Path) -> None:
    program = [mido.Message("program_change", channel=0, program=24)]
    piece = read_piece(midi_file(tmp_path / "a.mid", program + note(60), note(40)))
    assert [(n.pitch, n.program) for n in piece.notes] == [(60, 24), (40, 24)]
    assert len(piece.channels()) == 2


def test_file_without_notes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no notes"):
        read_piece(midi_file(tmp_path / "a.mid", []))


# --- cutting


@given(pieces(), st.floats(0, 8), st.floats(0.5, 6))
def test_window_holds_what_sounds_in_it(piece: Piece, start: float, seconds: float) -> None:
    window = cut(piece, start, seconds)
    assert all(0 <= n.start < n.end <= seconds + 1e-9 for n in window.notes)
    begun = [n for n in piece.notes if start <= n.start < start + seconds - 0.02]
    assert len([n for n in window.notes if n.start > 0]) == len(
        [n for n in begun if n.start > start]
    )
    for n in window.notes:
        if n.start == 0 and n.channel == DRUM_CHANNEL:
            assert any(abs(o.start - start) < 1e-5 and o.pitch == n.pitch for o in piece.notes)


def test_window_repeats_what_is_in_force() -> None:
    def control(time: float, **fields: Any) -> Control:
        return Control(time, mido.Message("control_change", **fields))

    controls = (
        Control(0.0, mido.Message("program_change", program=5)),
        control(0.1, control=7, value=10),
        control(0.2, control=7, value=90),
        Control(0.3, mido.Message("program_change", program=9)),
        control(2.5, control=7, value=30),
        control(9.0, control=7, value=1),
    )
    piece = Piece((Note(0, 9, 0, 60, 80, 9),), controls, (0.0,), ((0.0, 120.0),), 9.0)
    window = cut(piece, 2.0, 3.0)
    state = [(c.time, c.message.type, getattr(c.message, "value", None)) for c in window.controls]
    assert state == [
        (0.0, "control_change", 90),
        (0.0, "program_change", None),
        (0.5, "control_change", 30),
    ]
    assert ranges(window) == [(0, 60, 0.0, 3.0)]


@given(pieces(), st.floats(0.5, 2))
def test_stretching_there_and_back(piece: Piece, factor: float) -> None:
    assert ranges(stretched(stretched(piece, factor), 1 / factor)) == ranges(piece)
    assert stretched(piece, factor).tempos[0][1] == pytest.approx(120 * factor)


@given(pieces(), st.integers(-3, 3))
def test_transposing_leaves_drums(piece: Piece, semitones: int) -> None:
    for old, new in zip(piece.notes, transposed(piece, semitones).notes, strict=True):
        assert new.pitch - old.pitch == (0 if old.channel == DRUM_CHANNEL else semitones)


def test_loop_is_repeated_in_whole_bars() -> None:
    loop = Piece(
        (Note(0, 1, 9, 36, 80, 0), Note(3.5, 4.1, 9, 38, 80, 0)),
        (),
        (0.0, 2.0),
        ((0.0, 120.0),),
        4.1,
    )
    longer = repeated(loop, 10.0)
    assert longer.duration == 12.0
    assert [n.start for n in longer.notes] == [0, 3.5, 4, 7.5, 8, 11.5]
    assert max(n.end for n in longer.notes) <= 12.0


def test_channels_programs_and_velocities() -> None:
    piece = Piece(
        (Note(0, 1, 0, 60, 80, 0), Note(0, 1, 2, 64, 100, 0)), (), (0.0,), ((0.0, 120.0),), 1.0
    )
    assert only_channels(piece, [2]).channels() == [2]
    swapped = with_programs(piece, {2: 40})
    assert [n.program for n in swapped.notes] == [0, 40]
    assert swapped.controls[0].message.program == 40
    assert [n.velocity for n in scaled_velocities(piece, {2: 2.0}).notes] == [80, 127]


# --- variation


def trio() -> Piece:
    notes = []
    for beat in range(120):
        notes.append(Note(beat / 2, beat / 2 + 0.1, DRUM_CHANNEL, 36, 90, 0))
        notes.append(Note(beat / 2, beat / 2 + 0.4, 1, 40, 90, 32))
        notes.append(Note(beat / 2, beat / 2 + 0.4, 0, 60 + beat % 5, 70, 0))
    bars = tuple(2.0 * k for k in range(30))
    return Piece(tuple(notes), (), bars, ((0.0, 120.0),), 60.0)


TRIO_LABELS: Labels = {
    "genre": ["jazz"],
    "instruments": ["piano", "double bass", "drums"],
    "complete": True,
    "tempo_bpm": 120.0,
    "key": "G major",
}


@given(st.integers(0, 2**32))
def test_labels_stay_true(seed: int) -> None:
    rng, twin = random.Random(seed), random.Random(seed)
    made = variation.vary(trio(), TRIO_LABELS, source="mma", seconds=(10.0, 30.0), rng=rng)
    assert made == variation.vary(trio(), TRIO_LABELS, source="mma", seconds=(10.0, 30.0), rng=twin)
    labels, channels = made.labels, made.piece.channels()
    assert ("drums" in labels["instruments"]) == (DRUM_CHANNEL in channels)
    assert len(labels["instruments"]) <= len(channels)
    assert labels["tempo_bpm"] == pytest.approx(120 * made.tempo_factor, abs=0.06)
    if made.part == variation.FULL:
        assert labels["key"] == variation.transposed_key("G major", made.semitones)
    if made.part == variation.SOLO:
        assert labels["genre"] == []
        assert len(channels) == 1
    if made.part == variation.ONLY_DRUMS:
        assert labels["instruments"] == ["drums"]
        assert "key" not in labels
    assert 9.9 <= made.piece.duration <= 30.1
    assert TRIO_LABELS["key"] == "G major"  # the labels handed in are left alone


def test_all_kinds_of_parts_occur() -> None:
    parts = {
        variation.vary(
            trio(), TRIO_LABELS, source="mma", seconds=(10, 10), rng=random.Random(n)
        ).part
        for n in range(200)
    }
    assert parts == {"full", "no drums", "only drums", "solo"}


@pytest.mark.parametrize(
    ("key", "semitones", "expected"),
    [
        ("G major", 2, "A major"),
        ("C minor", -1, "B minor"),
        ("F# minor", 1, "G minor"),
        ("Bb", 3, "Db"),
    ],
)
def test_keys_move(key: str, semitones: int, expected: str) -> None:
    assert variation.transposed_key(key, semitones) == expected


def test_faint_instruments_are_not_named() -> None:
    piece = trio()
    faint = Note(1, 1.05, 5, 60, 10, 40)
    assert "violin" not in variation.heard_instruments(replace(piece, notes=(*piece.notes, faint)))
