"""Render the twelve pieces of examples/music from MIDI files with a General MIDI soundfont.

    python recipes/mini/make_examples.py --midi MIDI --out examples/music

The MIDI files are accompaniments that MMA (Musical MIDI Accompaniment) made from its grooves. Needs
fluidsynth and the FluidR3 soundfont: `apt-get install fluidsynth fluid-soundfont-gm`.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from midi_file import read_piece, write_piece
from midi_window import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_RATE = 44_100
COMPRESSION = 0.8  # of 0 to 1: about 96 kb/s
_BLOCK = 65_536  # libsndfile's Vorbis writer fails on very long blocks
LOUDNESS_DB = -22.0  # root mean square of the mono mix below full scale
PEAK_DB = -1.5
FADE_SECONDS = 0.8
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
ALBUM = "clap-musicgen examples"


@dataclass(frozen=True, slots=True)
class Example:
    """One piece: the name of its file, its tags, the MIDI file and how long it plays."""

    name: str
    title: str
    genre: str
    midi: str
    seconds: float
    author: str = "Bob van der Poel"  # of the groove

    @property
    def artist(self) -> str:
        """Honest about what it is: an accompaniment pattern played by a program."""
        return f"MMA groove by {self.author}"


EXAMPLES = (
    Example("slow-jazz-piano", "Slow jazz, piano trio", "Jazz", "mma/stdlib_SlowJazz_0.mid", 19),
    Example("big-band-swing", "Big band swing", "Swing", "mma/stdlib_BigBand1SusPlus_0.mid", 17),
    Example("bossa-nova", "Bossa nova", "Bossa Nova", "mma/stdlib_BossaNova1SusPlus_1.mid", 18),
    Example("french-waltz", "French waltz", "Waltz", "mma/stdlib_FrenchWaltzSus_0.mid", 16),
    Example("heavy-metal", "Heavy metal", "Metal", "mma/pflib_metal2A_1.mid", 16, "Peter Falk"),
    Example("trance", "Trance", "Trance", "mma/stdlib_Trance_1.mid", 17),
    Example("string-ballad", "String ballad", "Ballad", "mma/stdlib_Ballad68SusPlus_0.mid", 20),
    Example("bluegrass", "Bluegrass banjo", "Bluegrass", "mma/stdlib_BlueGrass_0.mid", 16),
    Example("church-hymn", "Church hymn", "Gospel", "mma/stdlib_HymnRootWalkPlus_0.mid", 20),
    Example("tango", "Tango", "Tango", "mma/stdlib_TangoCleanPlus_0.mid", 18),
    Example("merengue", "Merengue with brass", "Latin", "mma/stdlib_Merengue2Sus_0.mid", 17),
    Example(
        "hip-hop", "Hip hop", "Hip-Hop", "mma/alexis_HipHopPlus1_1.mid", 18, "Alexis Archambault"
    ),
)


def synthesize(midi: Path, soundfont: Path) -> NDArray[np.float32]:
    """Stereo waveform (T, 2) of a MIDI file."""
    target = midi.with_suffix(".wav")
    command = ["fluidsynth", "-ni", "-q", "-g", "0.4", "-r", str(SAMPLE_RATE), "-O", "s16"]
    command += ["-T", "wav", "-F", str(target), str(soundfont), str(midi)]
    subprocess.run(command, check=True, capture_output=True)
    with wave.open(str(target), "rb") as sound:
        raw = np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2")
    return np.asarray(raw.reshape(-1, 2) / 32768.0, dtype=np.float32)


def master(waveform: NDArray[np.float32], seconds: float) -> NDArray[np.float32]:
    """Cut, fade out, bring to the common loudness; rare peaks are bent below the limit."""
    waveform = waveform[: round(seconds * SAMPLE_RATE)].copy()
    fade = np.linspace(1.0, 0.0, round(FADE_SECONDS * SAMPLE_RATE), dtype=np.float32)
    waveform[-fade.size :] *= fade[:, None]
    mono = waveform.mean(axis=1)  # what an embedder hears
    waveform *= 10.0 ** (LOUDNESS_DB / 20.0) / np.sqrt(np.mean(np.square(mono)))
    peak = 10.0 ** (PEAK_DB / 20.0)
    knee = 0.7 * peak
    over = np.maximum(np.abs(waveform) - knee, 0.0) / (peak - knee)
    bent = knee + (peak - knee) * np.tanh(over)
    return np.where(np.abs(waveform) > knee, np.sign(waveform) * bent, waveform).astype(np.float32)


def encode(waveform: NDArray[np.float32], path: Path, example: Example) -> None:
    """Write Ogg Vorbis with tags."""
    with soundfile.SoundFile(
        path,
        "w",
        samplerate=SAMPLE_RATE,
        channels=2,
        format="OGG",
        subtype="VORBIS",
        compression_level=COMPRESSION,
    ) as file:
        file.title, file.artist, file.album = example.title, example.artist, ALBUM
        file.genre = example.genre
        for start in range(0, len(waveform), _BLOCK):
            file.write(waveform[start : start + _BLOCK])


def make(example: Example, *, midi: Path, soundfont: Path, out: Path) -> Path:
    """Render one example; returns its path."""
    with tempfile.TemporaryDirectory() as scratch:
        window = Path(scratch) / "window.mid"
        write_piece(cut(read_piece(midi / example.midi), 0.0, example.seconds), window)
        waveform = synthesize(window, soundfont)
    path = out / f"{example.name}.ogg"
    encode(master(waveform, example.seconds), path, example)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--midi", type=Path, required=True, help="folder that holds mma/")
    parser.add_argument("--out", type=Path, default=Path("examples/music"))
    parser.add_argument("--soundfont", type=Path, default=SOUNDFONT)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for example in EXAMPLES:
        path = make(example, midi=args.midi, soundfont=args.soundfont, out=args.out)
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
