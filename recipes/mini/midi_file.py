"""MIDI files as notes in seconds: the reader, the writer and what lies between them.

Time is in seconds throughout; the written file has one fixed tempo. Banks and system messages are
dropped: every program is the General MIDI sound that its number says, so that labels stay true with
any soundfont. Nothing here knows labels or sound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mido
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

DRUM_CHANNEL = 9  # the tenth, counted from 0
CHANNELS = 16
DEFAULT_TEMPO = 500_000  # microseconds per quarter note: 120 bpm
_TICKS_PER_BEAT = 5_000  # at the default tempo one tick of the written file is 0.1 ms
_BANK_SELECT = (0, 32)
_LAST_CONTROL = 119  # above it lie channel mode messages, which would cut notes


@dataclass(frozen=True, slots=True)
class Note:
    """One note; `program` is the channel's program when it starts (0 on the drum channel)."""

    start: float
    end: float
    channel: int
    pitch: int
    velocity: int
    program: int


@dataclass(frozen=True, slots=True)
class Control:
    """A controller, program, pitch-wheel or aftertouch message at a time in seconds."""

    time: float
    message: mido.Message


@dataclass(frozen=True, slots=True)
class Piece:
    """Notes and controls in order of time, the starts of the bars, and (seconds, bpm) changes."""

    notes: tuple[Note, ...]
    controls: tuple[Control, ...]
    bars: tuple[float, ...]
    tempos: tuple[tuple[float, float], ...]
    duration: float

    def tempo_at(self, second: float) -> float:
        """Quarter notes per minute in force at a second."""
        return [bpm for start, bpm in self.tempos if start <= second + 1e-6][-1]

    def channels(self) -> list[int]:
        """Channels with notes, in ascending order."""
        return sorted({note.channel for note in self.notes})


@dataclass(slots=True)
class _Clock:
    """Ticks to seconds by linear interpolation between tempo changes."""

    ticks: NDArray[np.float64]
    seconds: NDArray[np.float64]
    tempos: tuple[tuple[float, float], ...]

    def at(self, tick: float) -> float:
        return float(np.interp(tick, self.ticks, self.seconds))


def _clock(changes: list[tuple[int, int]], last_tick: int, ticks_per_beat: int) -> _Clock:
    """A clock from (tick, microseconds per beat) changes in order of time."""
    ticks, seconds, tempos = [0.0], [0.0], [(0.0, 60e6 / DEFAULT_TEMPO)]
    tempo = DEFAULT_TEMPO
    for tick, new in [*changes, (last_tick + ticks_per_beat, DEFAULT_TEMPO)]:
        second = seconds[-1] + (tick - ticks[-1]) * tempo / ticks_per_beat / 1e6
        ticks.append(float(tick))
        seconds.append(second)
        tempos.append((second, 60e6 / max(new, 1)))
        tempo = new
    return _Clock(np.asarray(ticks), np.asarray(seconds), tuple(tempos[:-1]))


def _bars(clock: _Clock, metres: list[tuple[int, float]], last_tick: int) -> tuple[float, ...]:
    """Starts of the bars in seconds from (tick, ticks per bar) changes; a change starts a bar."""
    bars: list[float] = []
    limits = [tick for tick, _ in metres[1:]] + [last_tick]
    for (start, length), limit in zip(metres, limits, strict=True):
        count = max(0, math.ceil((limit - start) / length))
        bars.extend(clock.at(start + k * length) for k in range(count))
    return tuple(bars)


def read_piece(path: Path) -> Piece:
    """Read a MIDI file.

    Raises:
        OSError, EOFError, ValueError: the file is no MIDI file that can be read, or has no notes.
    """
    midi = mido.MidiFile(str(path), clip=True)
    if midi.ticks_per_beat <= 0:
        raise ValueError(f"{path}: time code division is not supported")
    events = _merged(midi)
    last_tick = max((tick for tick, _, _ in events), default=0)
    changes = [(t, m.tempo) for t, _, m in events if m.type == "set_tempo"]
    clock = _clock(changes, last_tick, midi.ticks_per_beat)
    whole = midi.ticks_per_beat * 4
    metres = [
        (t, whole * m.numerator / m.denominator) for t, _, m in events if m.type == "time_signature"
    ]
    if not metres or metres[0][0] > 0:
        metres.insert(0, (0, float(whole)))
    notes, controls = _pair(events, clock)
    if not notes:
        raise ValueError(f"{path}: no notes")
    end = max(note.end for note in notes)
    return Piece(notes, controls, _bars(clock, metres, last_tick), clock.tempos, end)


def _merged(midi: mido.MidiFile) -> list[tuple[int, int, mido.Message]]:
    """(tick, track, message) in order of time; tracks that share a channel get their own."""
    events = []
    for index, track in enumerate(midi.tracks):
        tick = 0
        for message in track:
            tick += message.time
            events.append((tick, index, message))
    events.sort(key=lambda event: event[0])
    return _split_tracks(events)


def _split_tracks(
    events: list[tuple[int, int, mido.Message]],
) -> list[tuple[int, int, mido.Message]]:
    """Melody and chords on one channel but in two tracks become two channels, if enough are free.

    A control of the shared channel holds for each of them.
    """
    pairs = dict.fromkeys(
        (track, m.channel)
        for _, track, m in events
        if m.type == "note_on" and m.channel != DRUM_CHANNEL
    )
    used = {channel for _, channel in pairs}
    free = [c for c in range(CHANNELS) if c != DRUM_CHANNEL and c not in used]
    moved: dict[tuple[int, int], int] = {}
    taken: set[int] = set()
    for pair in pairs:
        if pair[1] in taken and free:
            moved[pair] = free.pop(0)
        taken.add(pair[1])
    return list(_spread(events, moved))


def _spread(
    events: list[tuple[int, int, mido.Message]], moved: Mapping[tuple[int, int], int]
) -> Iterator[tuple[int, int, mido.Message]]:
    """Notes go to their new channel, controls to every channel made from theirs."""
    for tick, track, message in events:
        channel = getattr(message, "channel", None)
        if message.type in ("note_on", "note_off"):
            target = moved.get((track, message.channel), message.channel)
            yield tick, track, message.copy(channel=target)
            continue
        yield tick, track, message
        for (_, source), target in moved.items():
            if source == channel:
                yield tick, track, message.copy(channel=target)


def _pair(
    events: Iterable[tuple[int, int, mido.Message]], clock: _Clock
) -> tuple[tuple[Note, ...], tuple[Control, ...]]:
    """Match note starts with their ends, first in, first out; sounds left open end at once."""
    notes: list[Note] = []
    controls: list[Control] = []
    programs = [0] * CHANNELS
    sounding: dict[tuple[int, int], list[tuple[float, int, int]]] = {}
    for tick, _, message in events:
        second = clock.at(tick)
        if message.type in ("note_on", "note_off"):
            key = (message.channel, message.note)
            if message.type == "note_on" and message.velocity > 0:
                program = 0 if message.channel == DRUM_CHANNEL else programs[message.channel]
                sounding.setdefault(key, []).append((second, message.velocity, program))
            elif sounding.get(key):
                start, velocity, program = sounding[key].pop(0)
                notes.append(Note(start, second, *key, velocity, program))
        elif _is_state(message):
            if message.type == "program_change":
                programs[message.channel] = message.program
            controls.append(Control(second, message))
    notes.sort(key=lambda note: (note.start, note.channel, note.pitch))
    return tuple(notes), tuple(controls)


def _is_state(message: mido.Message) -> bool:
    if message.type == "control_change":
        return message.control <= _LAST_CONTROL and message.control not in _BANK_SELECT
    return message.type in ("program_change", "pitchwheel", "aftertouch")


def write_piece(piece: Piece, path: Path) -> None:
    """Write the piece as a MIDI file of one track at 120 bpm."""
    midi = mido.MidiFile(type=0, ticks_per_beat=_TICKS_PER_BEAT)
    track = mido.MidiTrack()
    midi.tracks.append(track)
    now = 0
    for tick, _, message in sorted(_messages(piece), key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    midi.save(str(path))


def _messages(piece: Piece) -> Iterator[tuple[int, int, mido.Message]]:
    """(tick, rank, message); at one tick ends come first, then controls, then starts."""
    ticks_per_second = _TICKS_PER_BEAT * 1_000_000 / DEFAULT_TEMPO
    for control in piece.controls:
        yield round(control.time * ticks_per_second), 1, control.message
    for note in piece.notes:
        start = round(note.start * ticks_per_second)
        end = max(round(note.end * ticks_per_second), start + 1)
        fields = {"channel": note.channel, "note": note.pitch}
        yield start, 2, mido.Message("note_on", velocity=note.velocity, **fields)
        yield end, 0, mido.Message("note_off", **fields)
