"""Cut a window out of a piece and vary it: tempo, key, channels, instruments, loudness.

Pure functions from piece to piece. Nothing here knows files, labels or sound.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import mido
import numpy as np
from midi_file import DRUM_CHANNEL, Control, Note, Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PARAMETER_CONTROLS = frozenset({6, 38, 96, 97, 98, 99, 100, 101})  # only their order has a meaning
_RESTRIKE_SECONDS = 0.25


def cut(piece: Piece, start: float, seconds: float) -> Piece:
    """The piece from `start` for `seconds`, beginning at 0.

    What is in force at the start is repeated at 0. A note that began before is struck again if it
    still sounds for a while (drums are not); a note that lasts longer ends with the window.
    """
    end = start + seconds
    before: dict[object, mido.Message] = {}
    inside: list[Control] = []
    for position, control in enumerate(piece.controls):
        if control.time <= start:
            key = _state_key(control.message, position)
            before.pop(key, None)  # so that the order of the last messages is kept
            before[key] = control.message
        elif control.time < end:
            inside.append(replace(control, time=control.time - start))
    notes = [
        replace(note, start=max(note.start - start, 0.0), end=min(note.end, end) - start)
        for note in piece.notes
        if note.start < end - 0.02 and _is_heard(note, start)
    ]
    tempos = ((0.0, piece.tempo_at(start)),)
    bars = tuple(bar - start for bar in piece.bars if start <= bar < end)
    head = [Control(0.0, message) for message in before.values()]
    return Piece(tuple(notes), tuple(head + inside), bars, tempos, seconds)


def _state_key(message: mido.Message, position: int) -> object:
    control = getattr(message, "control", None)
    if control in _PARAMETER_CONTROLS:
        return position
    return (message.type, message.channel, control)


def _is_heard(note: Note, start: float) -> bool:
    if note.start >= start - 1e-6:
        return True
    return note.channel != DRUM_CHANNEL and note.end - start >= _RESTRIKE_SECONDS


def repeated(piece: Piece, seconds: float) -> Piece:
    """A short loop repeated in whole bars until it fills `seconds`."""
    bar = piece.bars[1] - piece.bars[0] if len(piece.bars) > 1 else piece.duration
    period = max(1, math.ceil(piece.duration / bar - 0.25)) * bar
    times = max(1, math.ceil(seconds / period))
    notes = tuple(
        replace(n, start=n.start + k * period, end=min(n.end, period) + k * period)
        for k in range(times)
        for n in piece.notes
        if n.start < period
    )
    controls = tuple(
        replace(c, time=c.time + k * period)
        for k in range(times)
        for c in piece.controls
        if c.time < period
    )
    bars = tuple(k * bar for k in range(math.ceil(times * period / bar)))
    return replace(piece, notes=notes, controls=controls, bars=bars, duration=times * period)


def stretched(piece: Piece, factor: float) -> Piece:
    """The piece played `factor` times as fast."""
    return Piece(
        tuple(replace(n, start=n.start / factor, end=n.end / factor) for n in piece.notes),
        tuple(replace(c, time=c.time / factor) for c in piece.controls),
        tuple(bar / factor for bar in piece.bars),
        tuple((second / factor, bpm * factor) for second, bpm in piece.tempos),
        piece.duration / factor,
    )


def transposed(piece: Piece, semitones: int) -> Piece:
    """Every note but the drums moved; a note that would leave the range goes by an octave."""
    return replace(piece, notes=tuple(_moved(note, semitones) for note in piece.notes))


def _moved(note: Note, semitones: int) -> Note:
    if note.channel == DRUM_CHANNEL:
        return note
    pitch = note.pitch + semitones
    return replace(note, pitch=pitch + 12 if pitch < 0 else pitch - 12 if pitch > 127 else pitch)


def only_channels(piece: Piece, channels: Iterable[int]) -> Piece:
    """The notes of some channels; controls stay, they are silent."""
    kept = frozenset(channels)
    return replace(piece, notes=tuple(n for n in piece.notes if n.channel in kept))


def with_programs(piece: Piece, programs: Mapping[int, int]) -> Piece:
    """Other instruments on some channels, for the whole piece."""
    notes = tuple(replace(n, program=programs.get(n.channel, n.program)) for n in piece.notes)
    head = [
        Control(0.0, mido.Message("program_change", channel=channel, program=program))
        for channel, program in programs.items()
    ]
    rest = [
        c
        for c in piece.controls
        if c.message.type != "program_change" or c.message.channel not in programs
    ]
    return replace(piece, notes=notes, controls=tuple(head + rest))


def scaled_velocities(piece: Piece, gains: Mapping[int, float]) -> Piece:
    """Louder or softer channels."""
    notes = tuple(
        replace(n, velocity=int(np.clip(round(n.velocity * gains.get(n.channel, 1.0)), 1, 127)))
        for n in piece.notes
    )
    return replace(piece, notes=notes)
