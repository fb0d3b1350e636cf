"""Where the contents of a library lie on its map, and what they are called there; kept as a file.

A content keeps its place when its file is moved or tagged anew. One that has come since the points
were computed lies where its neighbours do. Knows a state, a place and label vectors; not who asks.
"""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clap_musicgen.errors import LibraryError
from clap_musicgen.library import projecting, tagging
from clap_musicgen.library.folder import MAP
from clap_musicgen.library.vocabulary import VOCABULARY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embeddings
    from clap_musicgen.library.asking import Asking
    from clap_musicgen.library.place import Place
    from clap_musicgen.library.projecting import Method, Projection
    from clap_musicgen.library.resident import State

FACETS = ("genre", "mood")
"""What points are called by, in words from `vocabulary`."""
MIN_SCORE = 0.5
"""A label that is more likely than not colours a point; a tag, which is a statement, needs more."""
MOST_NAMED = 2_000
"""More newcomers than this get no names before the map is made anew: nobody should wait for them."""
NOTHING = -1
_DAMAGED = (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where contents lie.

    Attributes:
        method: how it was computed.
        recipe: what else decided it: releases, and the fingerprint of the model.
        contents: (U,) hashes, in the order of the rest.
        points: (U, 2) from -1 to 1.
        names: the labels that `heard` speaks of.
        heard: (U, F) for each of FACETS the place in `names` of what fits best, or NOTHING.
    """

    method: Method
    recipe: str
    contents: NDArray[np.str_]
    points: NDArray[np.float32]
    names: tuple[str, ...]
    heard: NDArray[np.int16]

    def words(self, facet: int) -> list[str]:
        """What each content is called in one of FACETS; "" where nothing fits."""
        words = [*self.names, ""]  # NOTHING is the last one
        return [words[place] for place in self.heard[:, facet].tolist()]


def lay_out(
    asking: Asking,
    directions: Embeddings,
    *,
    method: Method | None = None,
    by: Projection | None = None,
) -> Layout:
    """Compute where the contents of a library lie; takes seconds, or a minute for a large one.

    Args:
        asking: answers for its present state.
        directions: (C, D) of `facet_labels`.
        method: None is the better one that is installed.
        by: does it, and lets another thread end it.

    Raises:
        InputError: there is no such method.
        LibraryError: it failed, or was ended.
    """
    state = asking.state
    wanted = projecting.method_for(len(state.row_of_content), method)
    means = state.means()
    points = (by or projecting.Projection())(state.correction.music(means), wanted)
    return Layout(
        wanted,
        _recipe(wanted, asking.model.fingerprint),
        _contents(state),
        points,
        facet_labels().names,
        labels_that_fit(means, asking, directions),
    )


def is_fresh(layout: Layout, asking: Asking, method: Method | None = None) -> bool:
    """Whether `lay_out` would give the same."""
    wanted = projecting.method_for(len(asking.state.row_of_content), method)
    return layout.recipe == _recipe(wanted, asking.model.fingerprint) and np.array_equal(
        np.sort(layout.contents), np.sort(_contents(asking.state))
    )


def is_of(layout: Layout, fingerprint: str) -> bool:
    """Whether it is of this model's vectors."""
    return layout.recipe.endswith(_of(fingerprint))


def fitted(layout: Layout, asking: Asking, directions: Embeddings) -> Layout:
    """Return the layout of the present contents: new ones lie where their neighbours do."""
    contents = _contents(asking.state)
    order = np.argsort(layout.contents)
    kept = layout.contents[order]
    places = np.minimum(np.searchsorted(kept, contents), max(len(kept) - 1, 0))
    known = kept[places] == contents if len(kept) else np.zeros(len(contents), dtype=bool)
    points = np.zeros((len(contents), 2), dtype=np.float32)
    heard = np.full((len(contents), len(FACETS)), NOTHING, dtype=np.int16)
    points[known], heard[known] = (
        column[order[places[known]]] for column in (layout.points, layout.heard)
    )
    names = layout.names
    if not known.all():
        means = asking.state.means()
        vectors = asking.state.correction.music(means)
        points[~known] = projecting.placed(
            vectors[~known], among=vectors[known], points=points[known]
        )
        if (~known).sum() <= MOST_NAMED and names == facet_labels().names:
            heard[~known] = labels_that_fit(means[~known], asking, directions)
    return Layout(layout.method, layout.recipe, contents, points, names, heard)


def labels_that_fit(means: Embeddings, asking: Asking, directions: Embeddings) -> NDArray[np.int16]:
    """For each of FACETS the label that fits best, as far as one is more likely than not.

    Args:
        means: (n, D) of contents, raw.
        asking: of the library.
        directions: (C, D) of `facet_labels`.

    Returns:
        (n, F) places in `facet_labels().names`, or NOTHING.
    """
    found = np.full((len(means), len(FACETS)), NOTHING, dtype=np.int16)
    if not len(means):
        return found
    correction, calibration = asking.state.correction, asking.calibration
    scores = tagging.tag_scores(means, directions, correction=correction, calibration=calibration)
    facets = np.array(facet_labels().facets)
    for place, facet in enumerate(FACETS):
        columns = np.flatnonzero(facets == facet)
        best = columns[np.argmax(scores[:, columns], axis=1)]
        fits = scores[np.arange(len(scores)), best] >= MIN_SCORE
        found[:, place] = np.where(fits, best, NOTHING)
    return found


def facet_labels() -> tagging.Labels:
    """The labels of FACETS."""
    return tagging.labels_of({facet: VOCABULARY[facet] for facet in FACETS})


def _recipe(method: Method, fingerprint: str) -> str:
    return f"{projecting.recipe(method)}{_of(fingerprint)}"


def _of(fingerprint: str) -> str:
    return f" of {fingerprint}"


def _contents(state: State) -> NDArray[np.str_]:
    return np.array(list(state.row_of_content), dtype="U32")


# The file


def read_layout(place: Place) -> Layout | None:
    """Return what is kept; None if there is none, or it cannot be used.

    Raises:
        LibraryError: an object store cannot be reached.
    """
    with suppress(*_DAMAGED):
        with np.load(io.BytesIO(place.read(MAP)), allow_pickle=False) as held:
            about = json.loads(str(held["about"]))
            layout = Layout(
                "pacmap" if about["method"] == "pacmap" else "pca",
                str(about["recipe"]),
                held["contents"].astype("U32"),
                held["points"].astype(np.float32),
                tuple(map(str, about["names"])),
                held["heard"].astype(np.int16),
            )
        if _is_whole(layout):
            return layout
    return None


def write_layout(place: Place, layout: Layout) -> bool:
    """Keep a layout for the next time; False where we may not write, which costs only time."""
    about = {"method": layout.method, "recipe": layout.recipe, "names": layout.names}
    stream = io.BytesIO()
    np.savez(
        stream,
        about=np.array(json.dumps(about)),
        contents=layout.contents.astype("S32"),
        points=layout.points,
        heard=layout.heard,
    )
    with suppress(OSError, LibraryError):
        place.write(MAP, stream.getvalue())
        return True
    return False


def _is_whole(layout: Layout) -> bool:
    count = len(layout.contents)
    return bool(
        layout.points.shape == (count, 2)
        and layout.heard.shape == (count, len(FACETS))
        and np.isfinite(layout.points).all()
        and ((layout.heard >= NOTHING) & (layout.heard < len(layout.names))).all()
    )
