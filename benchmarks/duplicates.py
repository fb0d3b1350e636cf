"""Are copies of a recording told from other music? Precision and recall of `Library.duplicates`.

    python benchmarks/duplicates.py ~/Music
    python benchmarks/duplicates.py ~/Music --limit 100 --others 1000 --seconds 60

Each file of a sample is made into the versions that one finds in a collection (other formats, levels, masters,
silence at the ends), and all versions of all files are searched for duplicates as a library does.
Every pair of versions of one file should be found, no other one. Beside it what is no copy: the
file a semitone higher or a little faster, and all pairs of different files, as they are and, as the
worst case, with all lengths taken for equal. Different files that are found to be the same are
listed: listen to them, they may well be.
"""

from __future__ import annotations

import argparse
import io
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from clap_musicgen.audio.clips import split_clips
from clap_musicgen.audio.files import find_audio, load_audio
from clap_musicgen.embedding import Embedder, Embeddings, Waveform, mean_direction
from clap_musicgen.errors import AudioError, InputError
from clap_musicgen.evaluation import perturbations as change
from clap_musicgen.library import duplicates
from clap_musicgen.library.rows import Clips
from tables import Table, add_output_options, deliver, positive

DIFFERENT = "different files"
THRESHOLDS = (0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995)


def aac(waveform: Waveform, sample_rate: int, *, bit_rate: int) -> Waveform:
    """Encode as AAC and decode; its delay stays, as in a file without a note of it."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=sample_rate, layout="mono")
        stream.bit_rate = bit_rate
        samples = np.clip(waveform, -1, 1).reshape(1, -1).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = sample_rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    buffer.seek(0)
    with av.open(buffer, "r", format="aac") as container:
        blocks = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(blocks).astype(np.float32)


def remastered(waveform: Waveform, sample_rate: int) -> Waveform:
    """Louder and brighter: +6 dB, +4 dB per octave of treble at most, peaks squashed."""
    spectrum = np.fft.rfft(waveform.astype(np.float64))
    hertz = np.fft.rfftfreq(len(waveform), 1 / sample_rate)
    shelf = 10 ** (4.0 / 20 * (hertz**2 / (hertz**2 + 3_000.0**2)))
    return np.tanh(2.0 * np.fft.irfft(spectrum * shelf, len(waveform))).astype(np.float32)


def silence(waveform: Waveform, sample_rate: int, *, before: float, after: float) -> Waveform:
    """Add silence, in seconds."""
    return np.pad(waveform, (round(before * sample_rate), round(after * sample_rate)))


def sixteen_bits(waveform: Waveform, sample_rate: int) -> Waveform:  # noqa: ARG001
    """As a CD, a WAV or FLAC file holds it."""
    return np.round(np.clip(waveform, -1, 1) * 32_767).astype(np.float32) / np.float32(32_767)


COPIES: Mapping[str, change.Perturbation] = {
    "16 bits (WAV, FLAC)": sixteen_bits,
    "mp3 128 kbit/s": partial(change.lossy, codec="mp3", bit_rate=128_000),
    "mp3 64 kbit/s": partial(change.lossy, codec="mp3", bit_rate=64_000),
    "opus 64 kbit/s": partial(change.lossy, codec="opus", bit_rate=64_000),
    "aac 96 kbit/s": partial(aac, bit_rate=96_000),
    "through 44.1 kHz": partial(change.through_rate, through=44_100),
    "6 dB quieter": partial(change.gain, decibels=-6.0),
    "louder, brighter master": remastered,
    "2 s of silence after": partial(silence, before=0.0, after=2.0),
    "0.1 s cut from the start": partial(change.cut_start, seconds=0.1),
    "1 s of silence before": partial(silence, before=1.0, after=0.0),
}
OTHERS: Mapping[str, change.Perturbation] = {
    "a semitone higher": partial(change.pitch, semitones=1.0),
    "3 % faster": partial(change.tempo, factor=1.03),
}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a file: "" is the file itself."""

    file: str
    variant: str
    clips: Clips

    @property
    def seconds(self) -> float:
        """Its length."""
        return float(self.clips.ends[-1])


def embed(model: Embedder, waveform: Waveform) -> Clips:
    """Clips as a library makes them."""
    clips = list(
        split_clips([waveform], sample_rate=model.sample_rate, clip_seconds=model.clip_seconds)
    )
    vectors: Embeddings = model.embed_clips([clip.waveform for clip in clips])
    starts, ends = ([getattr(c, side) for c in clips] for side in ("start", "end"))
    return Clips(np.array(starts), np.array(ends), vectors)


def versions(
    model: Embedder,
    files: Sequence[Path],
    changes: Mapping[str, change.Perturbation],
    *,
    seconds: float,
    tell: Callable[[str], object],
) -> list[Version]:
    """Every file that can be read, as it is and changed in every way."""
    found = []
    for number, file in enumerate(files, 1):
        tell(f"\r{number}/{len(files)} files")
        try:
            sound = load_audio(file, sample_rate=model.sample_rate).waveform
        except AudioError as error:
            tell(f"\nleft out: {error}\n")
            continue
        sound = sound[: round(seconds * model.sample_rate)]
        for name, changed in {"": lambda sound, _: sound, **changes}.items():
            clips = embed(model, changed(sound, model.sample_rate))
            found.append(Version(str(file), name, clips))
    tell("\n")
    return found


# What is found


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Pairs of versions, each once.

    Attributes:
        pairs: (P, 2) which.
        mean: (P,) cosine of the mean directions.
        clips: (P,) likeness clip by clip; -1 where the means are too far apart to look.
        single: (P,) one of them has a single clip.
        close: (P,) the lengths are those of one recording.
    """

    pairs: NDArray[np.int64]
    mean: NDArray[np.float64]
    clips: NDArray[np.float64]
    single: NDArray[np.bool_]
    close: NDArray[np.bool_]

    def found(self, *, lengths: bool = True) -> NDArray[np.bool_]:
        """Which pairs count as the same recording; `lengths`: whether those must fit."""
        bars = np.where(self.single, duplicates.SINGLE_COSINE, duplicates.CLIP_COSINE)
        near = self.mean >= duplicates.MEAN_COSINE
        return np.asarray((self.close | (not lengths)) & near & (self.clips >= bars))


def compare(pool: Sequence[Version], pairs: NDArray[np.int64]) -> Compared:
    """Judge pairs (P, 2) of versions by the library's own functions."""
    means = means_of(pool)
    cosines = np.einsum("pd,pd->p", means[pairs[:, 0]], means[pairs[:, 1]])
    clips = np.full(len(pairs), -1.0)
    for place in np.flatnonzero(cosines >= min(duplicates.MEAN_COSINE, *THRESHOLDS)):
        left, right = pairs[place]
        clips[place] = duplicates.likeness(pool[left].clips, pool[right].clips)
    counts = np.array([len(version.clips.vectors) for version in pool])
    seconds = np.array([version.seconds for version in pool])[pairs]
    window = np.minimum(
        duplicates.WINDOW_SECONDS, duplicates.WINDOW_SHARE * seconds.max(axis=1, initial=0)
    )
    close = np.abs(seconds[:, 0] - seconds[:, 1]) <= window
    return Compared(pairs, cosines, clips, (counts[pairs] == 1).any(axis=1), close)


def means_of(pool: Sequence[Version]) -> Embeddings:
    return np.stack([mean_direction(v.clips.vectors, v.clips.ends - v.clips.starts) for v in pool])


def measure(pool: Sequence[Version]) -> dict[str, Compared]:
    """Name of what is compared → its pairs: each kind of change, and different files."""
    originals = [n for n, version in enumerate(pool) if not version.variant]
    home = {pool[n].file: n for n in originals}
    compared = {}
    for name in (*COPIES, *OTHERS):
        pairs = [(home[v.file], n) for n, v in enumerate(pool) if v.variant == name]
        compared[name] = compare(pool, np.asarray(pairs, dtype=np.int64).reshape(-1, 2))
    left, right = np.triu_indices(len(originals), 1)
    rows = np.asarray(originals)
    compared[DIFFERENT] = compare(pool, np.stack([rows[left], rows[right]], axis=1))
    return compared


def whole_library(pool: Sequence[Version]) -> dict[str, int]:
    """Search all copies of all files at once; counts of pairs: true, found, found and true."""
    copies = [version for version in pool if version.variant not in OTHERS]
    groups = duplicates.duplicate_groups(
        means_of(copies),
        np.array([version.seconds for version in copies]),
        np.arange(len(copies)),
        lambda row: copies[row].clips,
    )
    files = [version.file for version in copies]
    together = [pair for group in groups for pair in itertools.combinations(group, 2)]
    sizes = Counter(files).values()
    return {
        "true": sum(size * (size - 1) // 2 for size in sizes),
        "found": len(together),
        "right": sum(files[i] == files[j] for i, j in together),
    }


def share(part: int, whole: int) -> str:
    return f"{part / whole:.3f} ({part} of {whole})" if whole else "–"


def tables_of(pool: Sequence[Version], compared: Mapping[str, Compared]) -> list[Table]:
    rows = [
        (name, "no" if name in (*OTHERS, DIFFERENT) else "yes", *_found(pairs, pairs.found()))
        for name, pairs in compared.items()
    ]
    different = compared[DIFFERENT]
    rows.append(
        (f"{DIFFERENT}, lengths ignored", "no", *_found(different, different.found(lengths=False)))
    )
    each = Table(
        "Is it the same recording as the file itself?",
        ("changed by", "should be found", "found, several clips", "found, a single clip"),
        rows,
        [
            f"{len({v.file for v in pool if v.variant})} files changed, {len({v.file for v in pool})} "
            f"in all; {int(different.close.sum())} pairs of different files are of about the same "
            "length.",
            f"Cosines: means {duplicates.MEAN_COSINE}, clips {duplicates.CLIP_COSINE}, a single "
            f"clip {duplicates.SINGLE_COSINE}; lengths within {duplicates.WINDOW_SECONDS:g} s and "
            f"{duplicates.WINDOW_SHARE:.0%}.",
        ],
    )
    whole = whole_library(pool)
    together = Table(
        "All copies of all files in one library, as pairs",
        ("", "precision", "recall"),
        [("groups", share(whole["right"], whole["found"]), share(whole["right"], whole["true"]))],
    )
    return [each, together, *(_sweep(compared, single=single) for single in (False, True))]


def _found(pairs: Compared, found: NDArray[np.bool_]) -> tuple[str, str]:
    """Of pairs with several clips, and of those with a single one."""
    kinds = (~pairs.single, pairs.single)
    several, single = (share(int(found[kind].sum()), int(kind.sum())) for kind in kinds)
    return several, single


def _sweep(compared: Mapping[str, Compared], *, single: bool) -> Table:
    """What other thresholds for clips would do, at the means' own (or lower, if that is lower)."""
    rows = []
    for cosine in THRESHOLDS:
        least = min(cosine, duplicates.MEAN_COSINE)

        def passing(
            pairs: Compared, least: float = least, cosine: float = cosine
        ) -> NDArray[np.bool_]:
            own = pairs.single == single
            return np.asarray(own & (pairs.mean >= least) & (pairs.clips >= cosine))

        hits = sum(int((passing(compared[n]) & compared[n].close).sum()) for n in COPIES)
        of = sum(int((compared[n].single == single).sum()) for n in COPIES)
        wrong = passing(compared[DIFFERENT])
        close = int((wrong & compared[DIFFERENT].close).sum())
        rows.append((f"{cosine:.3f}", share(hits, of), str(close), str(int(wrong.sum()))))
    return Table(
        f"Other thresholds: tracks of {'a single clip' if single else 'several clips'}",
        ("clip cosine", "copies found", DIFFERENT, "lengths ignored"),
        rows,
    )


def report(compared: Mapping[str, Compared], pool: Sequence[Version]) -> dict[str, object]:
    """Counts, and the files that are found to be the same."""
    return {
        "kinds": {
            name: {"pairs": len(pairs.pairs), "found": int(pairs.found().sum())}
            for name, pairs in compared.items()
        },
        "library": whole_library(pool),
        "same files": same_files(compared[DIFFERENT], pool),
    }


def same_files(different: Compared, pool: Sequence[Version]) -> list[tuple[str, str]]:
    """Different files that are found to be the same recording."""
    return [(pool[i].file, pool[j].file) for i, j in different.pairs[different.found()].tolist()]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--limit", type=positive, default=100, help="of files that are changed")
    parser.add_argument("--others", type=int, default=1000, help="files taken as they are")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each file at most")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    found = find_audio([options.folder])
    drawn = [found[n] for n in np.random.default_rng(0).permutation(len(found))]
    from clap_musicgen.model.loading import load_embedder

    model = load_embedder(options.model)
    kinds: list[tuple[list[Path], Mapping[str, change.Perturbation]]] = [
        (drawn[: options.limit], {**COPIES, **OTHERS}),
        (drawn[options.limit : options.limit + options.others], {}),
    ]
    pool = [
        version
        for files, changes in kinds
        for version in versions(
            model, files, changes, seconds=options.seconds, tell=sys.stderr.write
        )
    ]
    if len({version.file for version in pool}) < 2:
        raise InputError(f"{str(options.folder)!r} has no two files that can be read")
    compared = measure(pool)
    deliver(options, report(compared, pool), tables_of(pool, compared))
    if not options.json:
        sys.stdout.write("\nDifferent files that are found to be the same; are they?\n")
        for one, other in same_files(compared[DIFFERENT], pool):
            sys.stdout.write(f"  {one!r}\n  {other!r}\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
