"""Audio files as the rest of the package sees them: find, hash, read tags, load and stream.

Everything comes out mono (the plain mean of the channels) and resampled by soxr HQ. The door to
soxr and tinytag. Knows nothing of clips, models or libraries.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import unicodedata
from collections import deque
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr
from tinytag import TinyTag

from clap_musicgen.audio.decode import Block, Tally, decode, open_regular
from clap_musicgen.errors import InputError, InputTypeError, UnreadableAudioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clap_musicgen.embedding import Waveform

AUDIO_SUFFIXES = frozenset(
    {".aac", ".ac3", ".aif", ".aifc", ".aiff", ".alac", ".amr", ".ape", ".au", ".caf", ".dsf"}
    | {".dts", ".flac", ".m4a", ".m4b", ".m4r", ".mka", ".mp2", ".mp3", ".mpc", ".oga", ".ogg"}
    | {".opus", ".snd", ".spx", ".tak", ".tta", ".w64", ".wav", ".wave", ".weba", ".wma", ".wv"}
)
"""Suffixes, in lower case, by which audio files are found in folders."""

_JOINED = 16_384  # samples: codecs give about 1,000 at a time, which costs more than it saves
_LONGEST_TAG = 500
_REPLACEMENTS = {"Cc": " ", "Zl": " ", "Zp": " ", "Cs": "\N{REPLACEMENT CHARACTER}"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tags:
    """What a file says about its music; "" or None where it says nothing."""

    title: str
    artist: str = ""
    album: str = ""
    genre: str = ""
    year: int | None = None


@dataclass(frozen=True, slots=True)
class Audio:
    """A whole decoded file.

    Attributes:
        waveform: (T,) mono samples, within about ±1.
        sample_rate: in Hz.
        problem: "" or what was wrong, as in "truncated: 12.3 of 30.0 s could be decoded".
    """

    waveform: Waveform
    sample_rate: int
    problem: str = ""


class AudioStream:
    """A file as mono float32 blocks (T_i,) at the wanted rate, in bounded memory.

    Iterating decodes from the beginning, each time. After an iteration `problem` holds "" or what
    was wrong with the file, and `duration` the seconds that could be decoded.

    Raises (while iterating):
        NotAudioError: the content is not audio.
        EmptyAudioError: an audio container without a single sample that can be decoded.
        UnreadableAudioError: missing, no permission, no regular file, or an I/O error.
    """

    def __init__(self, path: str | Path, *, sample_rate: int) -> None:
        """Name the file and the rate, in Hz, to bring it to; nothing is opened yet."""
        if sample_rate <= 0:
            raise InputError(f"sample_rate must be positive, not {sample_rate!r} Hz")
        self.path = Path(path).expanduser()
        self.sample_rate = sample_rate
        self.problem = ""
        self.duration = 0.0

    def __iter__(self) -> Iterator[Waveform]:
        """Decode from the beginning."""
        tally = Tally()
        try:
            yield from resample(decode(self.path, tally), sample_rate=self.sample_rate)
        finally:
            self.problem, self.duration = tally.problem(), tally.seconds


def load_audio(path: str | Path, *, sample_rate: int) -> Audio:
    """Decode a whole file. Raises what `AudioStream` raises."""
    stream = AudioStream(path, sample_rate=sample_rate)
    blocks = list(stream)
    waveform = np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)
    return Audio(waveform, sample_rate, stream.problem)


def resample(blocks: Iterable[Block], *, sample_rate: int) -> Iterator[Waveform]:
    """Bring mono blocks of any rates to one rate, streaming; the block sizes do not matter."""
    for rate, group in groupby(blocks, key=itemgetter(0)):
        run = _joined(waveform for _, waveform in group)
        yield from run if rate == sample_rate else _resample_run(run, rate, sample_rate)


def _resample_run(run: Iterable[Waveform], source: int, target: int) -> Iterator[Waveform]:
    resampler = soxr.ResampleStream(source, target, 1, dtype="float32", quality="HQ")
    for waveform in run:
        resampled = resampler.resample_chunk(waveform)
        if len(resampled):
            yield resampled
    tail = resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
    if len(tail):
        yield tail


def _joined(waveforms: Iterable[Waveform]) -> Iterator[Waveform]:
    """Join short blocks to fewer long ones."""
    waiting: list[Waveform] = []
    size = 0
    for waveform in waveforms:
        waiting.append(waveform)
        size += len(waveform)
        if size >= _JOINED:
            yield np.concatenate(waiting)
            waiting, size = [], 0
    if size:
        yield np.concatenate(waiting)


def content_hash(path: str | Path) -> str:
    """Hash the bytes of a file: 32 hexadecimal digits of BLAKE2b-128, whatever the file's name.

    Raises:
        UnreadableAudioError: missing, no permission, no regular file, or an I/O error.
    """
    path = Path(path).expanduser()
    digest = hashlib.blake2b(digest_size=16)
    with open_regular(path) as file:
        try:
            while block := file.read(1 << 20):
                digest.update(block)
        except OSError as error:
            raise UnreadableAudioError(path, (error.strerror or str(error)).lower()) from error
    return digest.hexdigest()


def read_tags(path: str | Path) -> Tags:
    """Read title, artist, album, genre and year; the title falls back to the file's name.

    Control characters, line breaks and broken Unicode are replaced, so that each is one line that
    can be stored as UTF-8. Tags that cannot be read count as absent: they never fail a file.

    Raises:
        UnreadableAudioError: missing, no permission, or no regular file.
    """
    path = Path(path).expanduser()
    name = one_line(path.stem) or "untitled"
    with open_regular(path) as file:
        try:
            tag = TinyTag.get(filename=path, file_obj=file, duration=False)
        except Exception as error:  # noqa: BLE001 - a parser of arbitrary bytes may raise anything
            logger.debug("tags of %r cannot be read: %s", str(path), error)
            return Tags(title=name)
    year = re.search(r"(?<!\d)([12]\d{3})(?!\d)", one_line(tag.year))
    return Tags(
        title=one_line(tag.title) or name,
        artist=one_line(tag.artist) or one_line(tag.albumartist),
        album=one_line(tag.album),
        genre=one_line(tag.genre),
        year=int(year.group(1)) if year else None,
    )


def one_line(text: object) -> str:
    """Clean any text for storage and display: valid Unicode, one line, no control characters."""
    if text is None:
        return ""
    kept = (_REPLACEMENTS.get(unicodedata.category(mark), mark) for mark in str(text))
    return " ".join("".join(kept).split())[:_LONGEST_TAG]


def find_audio(paths: Iterable[str | Path]) -> list[Path]:
    """Find audio files in files and folders, recursively.

    In folders files are found by suffix; hidden files and folders are skipped; links are followed,
    each real file comes once and loops end. A file named explicitly is kept whatever its suffix.

    Returns:
        Absolute paths, sorted.

    Raises:
        InputTypeError: a bare string instead of a list of paths.
        UnreadableAudioError: a path that does not exist, or a named folder that cannot be read.
    """
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise InputTypeError(f"paths must be a list: write [{paths!r}] instead of {paths!r}")
    found: dict[str, str] = {}  # real path → the path shown, a real one wherever there is one
    folders: list[Path] = []
    for path in (Path(os.path.abspath(Path(path).expanduser())) for path in paths):  # noqa: PTH100
        if _is_folder(path):
            folders.append(path)
        else:
            _keep(found, path)
    for path in _walk(folders):
        _keep(found, path)
    return sorted(Path(path) for path in found.values())


def _keep(found: dict[str, str], path: Path) -> None:
    shown, real = str(path), os.path.realpath(path)
    if shown == real:
        found[real] = shown
    else:
        found.setdefault(real, shown)


def _is_folder(path: Path) -> bool:
    """Tell a named folder from a named file; either must be there, and a folder be readable."""
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return False
        os.scandir(path).close()
    except FileNotFoundError as error:
        raise UnreadableAudioError(path, "no such file or folder") from error
    except OSError as error:
        raise UnreadableAudioError(path, (error.strerror or str(error)).lower()) from error
    except ValueError as error:  # a null byte in the name
        raise UnreadableAudioError(path, str(error)) from error
    return True


def _walk(folders: list[Path]) -> Iterator[Path]:
    """Walk breadth first; linked folders come after all the real ones, so that real paths win."""
    real, linked = deque(sorted(folders)), deque[Path]()
    seen: set[tuple[int, int]] = set()
    while real or linked:
        folder = (real or linked).popleft()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            logger.warning("folder %r is skipped: %s", str(folder), error.strerror)
            continue
        for entry in entries:
            kind = "hidden" if entry.name.startswith(".") else _kind(entry)
            if kind == "folder":
                (linked if entry.is_symlink() else real).append(Path(entry.path))
            elif kind == "file" and Path(entry.name).suffix.lower() in AUDIO_SUFFIXES:
                yield Path(entry.path)


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else "other"
    except OSError:  # a link that leads nowhere, into a circle or behind a locked door
        return "other"
