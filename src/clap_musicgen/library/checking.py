"""`check`: is a library whole, and if not, what can be saved?

Needs neither a model nor the music. Damage is never guessed at: what is not sound is taken out, so
that the next `index` of the same folders brings it back from the files.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from clap_musicgen.errors import LibraryBusyError, LibraryError
from clap_musicgen.library.examining import Examined, Finding, examine
from clap_musicgen.library.folder import DESCRIPTION, FORMAT, Description, read_description
from clap_musicgen.library.place import AnyPlace, Place, locate
from clap_musicgen.library.rows import halves
from clap_musicgen.library.runs import vectors_flaw
from clap_musicgen.library.salvaging import (
    Damage,
    check_damage,
    damage_of,
    index_flaw,
    remove_fragments,
    remove_rows,
    rewrite,
    rows_of,
    step_back,
)
from clap_musicgen.library.store import CLIPS, EXACT_UP_TO, MAX_FRAGMENTS, TEXTS, TRACKS
from clap_musicgen.library.tables import Database, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDS = 4
"""Mending one thing may uncover another: a table must open before its rows can be looked at."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check has found.

    Attributes:
        path: the library.
        tracks: how many there are (after a repair).
        clips: the same.
        findings: what is not as it should be, or was not before the repair.
    """

    path: str
    tracks: int
    clips: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """The library is as it should be now; clips that an interrupted writer left do no harm."""
        return all(finding.mended or finding.kind == "orphans" for finding in self.findings)

    @property
    def lost(self) -> tuple[str, ...]:
        """Paths of the tracks that must be indexed again, sorted."""
        return tuple(sorted({path for finding in self.findings for path in finding.lost}))


@dataclass(slots=True)
class _State:
    """What one look has found."""

    findings: list[Finding] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    damages: dict[str, Damage] = field(default_factory=dict)
    examined: Examined = field(default_factory=Examined)

    @property
    def tracks(self) -> int:
        """How many are good."""
        return 0 if self.examined.tracks is None else int(self.examined.tracks.num_rows)


def check_library(where: AnyPlace, *, repair: bool = False) -> CheckReport:
    """Look at every row of a library; with `repair` put right what can be.

    Args:
        where: its folder or URI.
        repair: mend what can be mended. Tracks that cannot be saved are taken out.

    Raises:
        LibraryBusyError: somebody writes to it.
        LibraryError: there is none, it is of a newer format, or it cannot be read or written at
            all, for example for want of permission.
    """
    place = locate(where)
    description, findings = _description(place)
    if description is None:
        return CheckReport(str(place), 0, 0, findings)
    if not repair:
        state = _steady(place, description)
        return _report(place, state, state.findings)
    with place.writing():
        seen: list[Finding] = []
        for _ in range(_ROUNDS):
            state = _look(place, description)
            seen += [finding for finding in state.findings if finding not in seen]
            if not state.findings or not _mend(place, state):
                break
        left = {(finding.kind, finding.subject) for finding in state.findings}
    mended = [replace(one, mended=(one.kind, one.subject) not in left) for one in seen]
    return _report(place, state, mended)


def _report(place: Place, state: _State, findings: list[Finding]) -> CheckReport:
    return CheckReport(str(place), state.tracks, state.examined.clips, tuple(findings))


def _description(place: Place) -> tuple[Description | None, tuple[Finding, ...]]:
    """Read library.json; where it cannot be used there is nothing else to hold on to."""
    try:
        if not place.exists(DESCRIPTION) and not any(
            name.endswith(".lance") for name in place.names()
        ):
            raise LibraryError(f"there is no library in {str(place)!r}")
    except OSError as error:
        raise LibraryError(f"there is no library in {str(place)!r}: {error.strerror}") from error
    try:
        found = read_description(place)
    except LibraryError as error:
        if _newer(place):
            raise
        return None, (Finding("description", place.file(DESCRIPTION), str(error)),)
    if not (found.fingerprint and found.dim > 0 and found.sample_rate > 0 < found.clip_seconds):
        detail = f"it describes no model: {found}; restore it from a backup"
        return None, (Finding("description", place.file(DESCRIPTION), detail),)
    return found, ()


def _newer(place: Place) -> bool:
    with suppress(OSError, LibraryError, ValueError, TypeError, KeyError):
        return int(json.loads(place.read(DESCRIPTION))["format"]) > FORMAT
    return False


# Looking


def _steady(place: Place, description: Description) -> _State:
    """Look while nobody writes, or at least while nobody finishes anything."""
    for _ in range(_ROUNDS):
        before = _versions(place)
        try:
            state = _look(place, description)
        except LibraryError:
            if _versions(place) == before:
                raise
            continue
        if _versions(place) == before:
            return state
    raise LibraryBusyError(
        f"somebody is writing to the library {str(place)!r}: check it when that is done"
    )


def _versions(place: Place) -> list[int]:
    with suppress(LibraryError):
        database = Database(place.target)
        return [database.open(name).version() for name in (TRACKS, CLIPS)]
    return []


def _look(place: Place, description: Description) -> _State:
    state, database = _State(), Database(place.target)
    for name in (TRACKS, CLIPS):
        try:
            table = database.open(name)
            state.damages[name] = damage_of(table)
        except LibraryError as error:
            check_damage(error)
            state.findings.append(Finding("table", name, str(error)))
            continue
        length = table.schema.field("vector").type.list_size
        if length != description.dim:
            raise LibraryError(
                f"{place.file(DESCRIPTION)!r} is not that of this library: it says that vectors "
                f"have the length {description.dim}, but they have {length}; restore it from a "
                "backup"
            )
        state.tables[name] = table
    state.findings += [
        Finding("fragment", f"{name} {fragment}", f"{rows} rows cannot be read: {why}")
        for name, damage in state.damages.items()
        for fragment, (rows, why) in damage.fragments.items()
    ]
    for name, table in state.tables.items():
        flaw = "" if state.damages[name].fragments else index_flaw(table)
        if flaw:
            state.findings.append(Finding("index", name, flaw))
    if TRACKS in state.tables:
        _look_at_rows(state, description.dim)
    _look_at_texts(state, database)
    return state


def _look_at_rows(state: _State, dim: int) -> None:
    table = state.tables[TRACKS]
    tracks = pa.Table.from_batches(rows_of(table, state.damages[TRACKS]), schema=table.schema)
    if CLIPS in state.tables:
        clips = rows_of(state.tables[CLIPS], state.damages[CLIPS], ids=True)
        state.examined = examine(tracks, clips, dim)
        state.findings += state.examined.findings
        return
    paths = tuple(sorted(raw.decode("utf-8", "surrogateescape") for raw in _column(tracks)))
    state.findings.append(Finding("clips", CLIPS, "all clips are out of reach", lost=paths))


def _column(tracks: pa.Table) -> list[bytes]:
    return list(tracks["raw_path"].to_pylist())


def _look_at_texts(state: _State, database: Database) -> None:
    if TEXTS not in database.names():
        return
    try:
        table = database.open(TEXTS)
        vectors = table.read(["vector"])["vector"]
        flaw = vectors_flaw(halves(vectors, vectors.type.list_size))
    except LibraryError as error:
        flaw = str(error)
    if flaw:
        state.findings.append(Finding("texts", TEXTS, flaw))


# Mending


def _mend(place: Place, state: _State) -> bool:
    """Put right what can be; False if there is nothing more to be done.

    In an order in which a sudden end leaves the library no worse than it was: what cannot be read
    goes first, then rows that are there twice, the tracks without sound clips, and last the clips
    without tracks.
    """
    broken = [name for name in (TRACKS, CLIPS) if name not in state.tables]
    if broken:
        return all(step_back(place.target, name) for name in broken)
    found, clips = state.examined, state.tables[CLIPS]
    for name, table in state.tables.items():
        remove_fragments(table, state.damages[name])
    remove_rows(clips, _joined(found.surplus))
    if found.changed and found.tracks is not None:
        state.tables[TRACKS].overwrite(found.tracks)
    remove_rows(clips, _joined(found.bad_clips))
    for finding in state.findings:
        if finding.kind == "index":
            table = state.tables[finding.subject]
            rewrite(table)
            lookup = "content" if finding.subject == TRACKS else None
            table.tidy(max_files=MAX_FRAGMENTS, exact_up_to=EXACT_UP_TO, lookup=lookup)
    if any(finding.kind == "texts" for finding in state.findings):
        Database(place.target).drop(TEXTS)
    return True


def _joined(parts: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.concatenate([np.empty(0, dtype=np.uint64), *parts])
