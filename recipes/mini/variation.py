"""Vary one MIDI item: window, tempo, key, instruments, who plays; and keep its labels true.

`vary` is a pure function of the piece, its labels and the random state. What the labels say
afterwards is read off the notes that are left, not off the file's header.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from instruments import BY_WORD, DRUMS, PROGRAMS, programs_of_family, word_of_program
from midi_file import DRUM_CHANNEL, Piece
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
    from random import Random

    from captions import Labels

FULL, NO_DRUMS, ONLY_DRUMS, SOLO = "full", "no drums", "only drums", "solo"
_KEYS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
_SAME_KEY = {"C#": "Db", "D#": "Eb", "F#": "Gb", "G#": "Ab", "A#": "Bb", "Cb": "B"}
# Programs that carry a tune or a piano part; drawn where the file has only a piano.
_TUNE = (0, 4, 6, 11, 12, 15, 19, 21, 22, 23, 24, 25, 40, 41, 42, 46, 48, 56, 64, 65, 66, 68, 71)
_TUNE_BRIGHT = (9, 10, 13, 72, 73, 74, 75, 78, 80, 81, 104, 105, 107, 108, 109, 110, 114)
_BACKING = (0, 4, 16, 19, 20, 21, 24, 25, 26, 46, 48, 50, 52, 89, 105, 15, 6)
_WHOLE = (0, 2, 4, 5, 6, 8, 11, 12, 16, 19, 20, 24, 25, 26, 27, 45, 46, 48, 50, 52, 61, 80, 81, 89)
# Within these families a swap keeps the style of the piece.
_SWAPS = ("keyboards", "organs", "guitars", "strings", "brass", "saxophones", "woodwinds", "pads")


@dataclass(frozen=True, slots=True)
class Variation:
    """A varied window and what is now true of it."""

    piece: Piece
    labels: Labels
    part: str  # full, no drums, only drums or solo
    tempo_factor: float
    semitones: int


def vary(
    piece: Piece, labels: Labels, *, source: str, seconds: tuple[float, float], rng: Random
) -> Variation:
    """Draw a window of `seconds` (shortest, longest) and vary it.

    Raises:
        ValueError: no note is left in the window.
    """
    factor = (
        rng.uniform(0.8, 1.25) if source in ("nottingham", "mutopia") else rng.uniform(0.9, 1.1)
    )
    played = stretched(piece, factor)
    window = _window(played, labels, rng.uniform(*seconds), rng)
    window, part = _choose_part(window, rng)
    if not window.notes:
        raise ValueError("no notes in the window")
    semitones = 0 if part == ONLY_DRUMS else rng.randint(-3, 3)
    window = transposed(window, semitones)
    window = with_programs(window, _substitutes(window, source, rng))
    gains = {channel: rng.uniform(0.75, 1.2) for channel in window.channels()}
    window = scaled_velocities(window, gains)
    new = varied_labels(labels, window, part=part, semitones=semitones)
    return Variation(window, new, part, factor, semitones)


def _window(piece: Piece, labels: Labels, seconds: float, rng: Random) -> Piece:
    """A window that starts at a bar or at a note; a short drum loop is repeated to fill it."""
    beat = labels.get("drum_part") == "beat"
    if (
        labels.get("drum_part")
        and piece.duration < seconds
        and rng.random() < (0.8 if beat else 0.4)
    ):
        piece = repeated(piece, seconds)
    if piece.duration <= seconds:
        return cut(piece, 0.0, piece.duration + 0.5)
    latest = piece.duration - seconds
    starts = piece.bars if rng.random() < 0.6 else tuple(note.start for note in piece.notes)
    possible = [start for start in starts if start <= latest] or [0.0]
    return cut(piece, rng.choice(possible), seconds)


def _choose_part(piece: Piece, rng: Random) -> tuple[Piece, str]:
    """Now and then the piece without its drums, its drums alone, or one of its voices alone."""
    counts = {c: sum(n.channel == c for n in piece.notes) for c in piece.channels()}
    melodic = [c for c in counts if c != DRUM_CHANNEL]
    draw = rng.random()
    if DRUM_CHANNEL in counts and melodic:
        if draw < 0.10 and sum(counts[c] for c in melodic) >= 8:
            return only_channels(piece, melodic), NO_DRUMS
        if draw < 0.15 and counts[DRUM_CHANNEL] >= 16:
            return only_channels(piece, [DRUM_CHANNEL]), ONLY_DRUMS
    voices = [c for c in melodic if counts[c] >= 16]
    if draw > 0.93 and len(counts) > 1 and voices:
        return only_channels(piece, [rng.choice(voices)]), SOLO
    return piece, FULL


def _substitutes(piece: Piece, source: str, rng: Random) -> dict[int, int]:
    """Other programs for some channels: freely where a file is all piano, else within a family."""
    melodic = [c for c in piece.channels() if c != DRUM_CHANNEL]
    programs = {c: next(n.program for n in piece.notes if n.channel == c) for c in melodic}
    if not melodic:
        return {}
    if source == "nottingham" and rng.random() < 0.75:
        tune = rng.choice(_TUNE + _TUNE_BRIGHT)
        return {c: tune if c == melodic[0] else rng.choice(_BACKING) for c in melodic}
    if source == "mutopia" and set(programs.values()) == {0} and rng.random() < 0.55:
        if rng.random() < 0.7 or len(melodic) == 1:
            return dict.fromkeys(melodic, rng.choice(_WHOLE))
        return {c: rng.choice(_TUNE if c == melodic[0] else _BACKING) for c in melodic}
    if source not in ("nottingham", "mutopia") and rng.random() < 0.25:
        channel = rng.choice(melodic)
        family = PROGRAMS[programs[channel]].family
        if family in _SWAPS:
            return {channel: rng.choice(programs_of_family(family))}
    return {}


# --- labels -----------------------------------------------------------------------------------


def transposed_key(key: str, semitones: int) -> str:
    """ "G major" moved by semitones, in the spelling of the corpus ("Gb", never "F#")."""
    tonic, _, mode = key.partition(" ")
    number = _KEYS.index(_SAME_KEY.get(tonic, tonic))
    return f"{_KEYS[(number + semitones) % 12]} {mode}".strip()


def heard_instruments(piece: Piece) -> list[str]:
    """Words for the instruments of the notes, the busiest first; hardly heard ones left out."""
    weights: dict[str, float] = {}
    counts: dict[str, int] = {}
    for note in piece.notes:
        word = DRUMS if note.channel == DRUM_CHANNEL else word_of_program(note.program)
        length = 0.25 if word == DRUMS else min(note.end - note.start, 2.0)
        weights[word] = weights.get(word, 0.0) + length * note.velocity
        counts[word] = counts.get(word, 0) + 1
    whole = sum(weights.values())
    heard = [w for w in weights if counts[w] >= 3 or weights[w] >= 0.05 * whole]
    return sorted(heard, key=lambda word: -weights[word])


def varied_labels(labels: Labels, piece: Piece, *, part: str, semitones: int) -> Labels:
    """The labels after the variation. A solo voice no longer tells the genre or the key."""
    new = labels.copy()
    new["instruments"] = heard_instruments(piece)
    new["tempo_bpm"] = round(piece.tempos[0][1], 1)
    drums_only = new["instruments"] == [DRUMS]
    if "key" in labels:
        new["key"] = transposed_key(labels["key"], semitones)
    if drums_only or part == SOLO:
        new.pop("key", None)
    if part == SOLO:
        new["genre"] = []
    if drums_only and "drum_part" not in new:
        new["drum_part"] = "beat"
    assert all(word in BY_WORD for word in new["instruments"])
    return new
