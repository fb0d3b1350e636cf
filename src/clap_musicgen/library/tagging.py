"""Zero-shot tags: for every track the labels that its vector fits, or none.

A label is written as several sentences (`PROMPTS`), whose mean direction is compared with each track,
as a question is. A tag is given where the *calibrated* score passes a bar, so that a track that
fits nothing gets nothing. `benchmarks/tag_quality.py` measures how often tags are right on labelled
music of yours; nothing is written to audio files. Knows an Embedder, arrays and tracks; not the
store.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clap_musicgen.errors import InputError, InputTypeError
from clap_musicgen.evaluation.zero_shot import PROMPTS, label_vectors
from clap_musicgen.library.calibration import SENSIBLE_MIN_SCORE
from clap_musicgen.library.folder import reason
from clap_musicgen.library.paths import readable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embedder, Embeddings
    from clap_musicgen.library.calibration import Calibration, Correction
    from clap_musicgen.library.records import Track

MIN_SCORE = SENSIBLE_MIN_SCORE
"""The bar; see docs/scores.md for what it means and `benchmarks/tag_quality.py` for what it does."""
PER_FACET = 3
"""How many labels of one facet a track gets at most."""
OWN_FACET = "tag"
"""The facet of labels that are given without one."""
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


@dataclass(frozen=True, slots=True)
class Tag:
    """One label of one track.

    Attributes:
        track: the track.
        facet: what kind of label it is, such as "genre".
        label: the label.
        score: calibrated, 0 to 1.
    """

    track: Track
    facet: str
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Labels:
    """C labels and the facet of each; no label twice in one facet."""

    facets: tuple[str, ...]
    names: tuple[str, ...]


def labels_of(given: Mapping[str, Sequence[str]] | Sequence[str]) -> Labels:
    """Read labels as a person gives them: a list, or lists by facet.

    Raises:
        InputTypeError: one string.
        InputError: no label, an empty one, or one twice.
    """
    if isinstance(given, str):
        raise InputTypeError(f"labels are a list of strings: write [{given!r}]")
    by_facet = given if isinstance(given, Mapping) else {OWN_FACET: given}
    pairs = [(facet, " ".join(name.split())) for facet, names in by_facet.items() for name in names]
    if not pairs:
        raise InputError("no labels: give at least one, such as jazz")
    seen: set[tuple[str, str]] = set()
    for facet, name in pairs:
        if not name:
            raise InputError(f"a label of {facet!r} is empty: describe the music in a word or two")
        if (facet, name.casefold()) in seen:
            raise InputError(f"the label {name!r} is given twice in {facet!r}")
        seen.add((facet, name.casefold()))
    return Labels(tuple(facet for facet, _ in pairs), tuple(name for _, name in pairs))


def read_labels(path: str | Path) -> dict[str, list[str]]:
    """Read labels from a text file (UTF-8): one a line, `FACET: LABEL` or a label alone.

    Empty lines and lines that begin with # say nothing.

    Raises:
        InputError: the file cannot be read, or a line has a facet and no label.
    """
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"cannot read the labels {str(path)!r}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"the labels {str(path)!r} are not UTF-8: save the file as UTF-8"
        ) from error
    found: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        facet, colon, label = line.partition(":")
        facet, label = (facet.strip(), label.strip()) if colon else (OWN_FACET, line.strip())
        if not facet or not label:
            raise InputError(f"{str(path)!r}, line {number}: {line!r} is not FACET: LABEL")
        found.setdefault(facet, []).append(label)
    if not found:
        raise InputError(f"there is no label in {str(path)!r}: write one a line")
    return found


def directions_of(
    model: Embedder, labels: Labels, correction: Correction, *, prompts: Sequence[str] = PROMPTS
) -> Embeddings:
    """Embed labels as questions: the mean direction of their prompts, corrected → (C, D)."""
    return as_questions(label_vectors(model, labels.names, prompts=prompts), correction)


def as_questions(vectors: Embeddings, correction: Correction) -> Embeddings:
    """Correct vectors of labels (C, D), as of a question in words → (C, D)."""
    return np.stack([correction.question(vector, "text") for vector in vectors])


def tag_scores(
    music: Embeddings, directions: Embeddings, *, correction: Correction, calibration: Calibration
) -> NDArray[np.float32]:
    """Calibrated score of each label on each content, 0 to 1.

    Args:
        music: (U, D) the mean directions of the contents, as they are stored.
        directions: (C, D) of the labels, from `directions_of`.
        correction: of the library.
        calibration: of the library; each label is calibrated for itself.

    Returns:
        (U, C).
    """
    corrected = correction.music(music)
    raw = corrected @ directions.T - correction.bias(corrected)[:, None]
    columns = [
        calibration.calibrated(np.ascontiguousarray(raw[:, place]), direction=direction)
        for place, direction in enumerate(directions)
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(music), 0), dtype=np.float32)


def given_tags(
    scores: NDArray[np.floating],
    facets: Sequence[str],
    *,
    min_score: float = MIN_SCORE,
    per_facet: int = PER_FACET,
) -> NDArray[np.bool_]:
    """Decide which labels each track gets: of each facet the best few that pass the bar.

    Args:
        scores: (N, C) calibrated.
        facets: of the C labels.
        min_score: what a label must score at least, 0 to 1.
        per_facet: how many labels of one facet at most; of equal scores the earlier label.

    Returns:
        (N, C) true where a label is given.
    """
    if not 0.0 <= min_score <= 1.0:
        raise InputError(f"min_score must be from 0 to 1, not {min_score!r}")
    if per_facet < 1:
        raise InputError(f"a facet must have room for at least 1 label, not {per_facet}")
    given = scores >= min_score
    for facet in dict.fromkeys(facets):
        columns = np.flatnonzero([own == facet for own in facets])
        order = np.argsort(-scores[:, columns], axis=1, kind="stable")
        ranks = np.argsort(order, axis=1, kind="stable")
        given[:, columns] &= ranks < per_facet
    return np.asarray(given)


def tags_of(
    tracks: Sequence[Track],
    content_rows: NDArray[np.int64],
    scores: NDArray[np.floating],
    labels: Labels,
    *,
    min_score: float = MIN_SCORE,
    per_facet: int = PER_FACET,
) -> list[Tag]:
    """Name the tags of N tracks: by track, facet in the order given, score.

    Args:
        tracks: the tracks.
        content_rows: (N,) the row in `scores` of each.
        scores: (U, C) from `tag_scores`.
        labels: the C labels.
        min_score, per_facet: see `given_tags`.
    """
    given = given_tags(scores, labels.facets, min_score=min_score, per_facet=per_facet)
    places = {facet: place for place, facet in enumerate(dict.fromkeys(labels.facets))}
    found: dict[int, list[tuple[str, str, float]]] = {}
    for row in range(len(scores)):
        own = [
            (labels.facets[place], labels.names[place], float(scores[row, place]))
            for place in np.flatnonzero(given[row])
        ]
        found[row] = sorted(own, key=lambda tag: (places[tag[0]], -tag[2]))
    return [
        Tag(track, *own)
        for track, row in zip(tracks, content_rows.tolist(), strict=True)
        for own in found[row]
    ]


def csv_bytes(tracks: Sequence[Track], tags: Sequence[Tag], facets: Sequence[str]) -> bytes:
    """Write a table for spreadsheets: a row for each track, a column for each facet.

    A cell has the labels by score, as in "jazz 0.98; blues 0.95"; it is empty where nothing fits.
    UTF-8 with a byte order mark, without which Excel takes it for something else. A cell that a
    spreadsheet would run as a formula (it begins with = + - or @) gets an apostrophe before it.
    """
    cells: dict[str, dict[str, list[str]]] = {track.path: {} for track in tracks}
    for tag in tags:
        cells[tag.track.path].setdefault(tag.facet, []).append(f"{tag.label} {tag.score:.2f}")
    names = list(dict.fromkeys(facets))
    rows = [["path", "title", "artist", *names]]
    rows += [
        [readable(track.path), track.title, track.artist]
        + ["; ".join(cells[track.path].get(name, [])) for name in names]
        for track in tracks
    ]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([[harmless(cell) for cell in row] for row in rows])
    return text.getvalue().encode("utf-8-sig", "backslashreplace")


def harmless(cell: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula."""
    # Some skip blanks and control characters before they look, and some read full-width signs.
    first = "".join(mark for mark in cell[:64] if mark.isprintable()).lstrip()[:1]
    return f"'{cell}" if first in _FORMULA or (cell[:1] in "\t\r\n" and cell) else cell
