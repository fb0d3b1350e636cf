"""Vectors → points of a plane: principal components, then PaCMAP where it is installed.

PaCMAP ("Pairwise Controlled Manifold Approximation", Wang et al., JMLR 2021) keeps neighbours
together and groups apart. It runs in a process of its own: its compiler needs seconds to start and
is not safe in several threads, and a computation of minutes must be easy to end. The same vectors
always give the same points. Knows arrays only; neither tracks nor files.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

import numpy as np

from clap_musicgen.errors import InputError, LibraryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embeddings

Method: TypeAlias = Literal["pacmap", "pca"]

COMPONENTS = 50
"""PaCMAP looks at so many principal components; the rest of a vector is mostly noise."""
LEAST = 40
"""Of fewer vectors the principal components are drawn: they have no groups to be kept apart."""
MOST = 100_000
"""Of more vectors so many, evenly chosen, are projected; the rest is placed by its neighbours."""
NEIGHBOURS = 5
"""How many neighbours decide where a vector is placed."""
SEED = 7
ALIKE = 1e-6
"""What spreads less is all the same, but for rounding."""
_ROWS_AT_ONCE = 1_024
_PROGRAM = "from clap_musicgen.library.projecting import main; main()"


def available() -> Method:
    """The better method that is installed; the extra `map` brings PaCMAP."""
    return "pca" if importlib.util.find_spec("pacmap") is None else "pacmap"


def method_for(count: int, method: Method | None = None) -> Method:
    """Which method so many vectors get; None asks for the better one.

    Raises:
        InputError: there is no such method, or it is not installed.
    """
    if method not in (None, "pacmap", "pca"):
        raise InputError(f"a map is made by 'pacmap' or 'pca', not {method!r}")
    if method == "pacmap" and available() != "pacmap":
        raise InputError("PaCMAP is not installed: pip install 'clap-musicgen[map]', or take 'pca'")
    return "pca" if count < LEAST else method or available()


def recipe(method: Method) -> str:
    """What decides where points come to lie, besides the vectors: changes make old points stale."""
    if method == "pca":
        return "1 pca"
    try:
        release = version("pacmap")
    except PackageNotFoundError:  # a copy in the search path
        release = "?"
    return f"1 pacmap {release} seed {SEED}"


class Projection:
    """One computation, which another thread may end."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._lock = threading.Lock()
        self._process: Any = None
        self._stopped = False

    def __call__(self, vectors: Embeddings, method: Method) -> NDArray[np.float32]:
        """Vectors (N, D) → points (N, 2) from -1 to 1, the longer side filled.

        Raises:
            LibraryError: it was ended, or PaCMAP failed.
        """
        components = principal(vectors, min(COMPONENTS, *vectors.shape))
        if method == "pca" or len(vectors) < LEAST or np.ptp(components, axis=0).max() < ALIKE:
            return framed(_two(components))
        chosen = np.arange(0, len(vectors), max(1, -(-len(vectors) // MOST)))
        points = self._pacmap(np.ascontiguousarray(components[chosen]))
        if len(chosen) < len(vectors):
            rest = np.setdiff1d(np.arange(len(vectors)), chosen)
            whole = np.empty((len(vectors), 2), dtype=np.float32)
            whole[chosen] = points
            whole[rest] = placed(components[rest], among=components[chosen], points=points)
            points = whole
        return framed(points)

    def stop(self) -> None:
        """End it; it cannot be used afterwards."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def _pacmap(self, components: NDArray[np.float32]) -> NDArray[np.float32]:
        """Components (N, C) → points (N, 2), by the other process."""
        with tempfile.TemporaryFile() as log:
            process = self._start(log)
            try:
                with suppress(BrokenPipeError):  # it is dead, which its answer tells
                    process.stdin.write(np.array(components.shape, dtype="<i8").tobytes())
                    process.stdin.write(components.astype("<f4").tobytes())
                    process.stdin.flush()
                answer = process.stdout.read()
                code = process.wait()
            finally:
                process.kill()
                process.wait()
                process.stdout.close()
                with suppress(BrokenPipeError):
                    process.stdin.close()
            if code or len(answer) != len(components) * 8:
                raise LibraryError(self._failure(code, log))
        points = np.frombuffer(answer, dtype="<f4").astype(np.float32).reshape(-1, 2)
        if not np.isfinite(points).all():
            raise LibraryError("PaCMAP found no finite places: take the method 'pca' instead")
        return points

    def _start(self, log: BinaryIO | Any) -> Any:
        with self._lock:
            if self._stopped:
                raise LibraryError("the map was not computed: it was ended")
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in the terminal reaches the parent alone
            )
            return self._process

    def _failure(self, code: int, log: Any) -> str:
        if self._stopped:
            return "the map was not computed: it was ended"
        log.seek(0)
        lines = log.read().decode(errors="replace").strip().splitlines()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        said = f", {lines[-1].strip()}" if lines else ""
        return f"PaCMAP failed ({how}{said}): take the method 'pca' instead, or free some memory"


def principal(vectors: NDArray[np.floating], count: int) -> NDArray[np.float32]:
    """Vectors (N, D) → their `count` first principal components (N, count).

    Signs are fixed: of each axis the entry that is largest in size is positive.
    """
    if not len(vectors):
        return np.empty((0, max(count, 0)), dtype=np.float32)
    centred = np.asarray(vectors, dtype=np.float32)
    centred = centred - centred.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = np.zeros((vectors.shape[1],) * 2)
    for first in range(0, len(centred), _ROWS_AT_ONCE):
        part = centred[first : first + _ROWS_AT_ONCE].astype(np.float64)
        spread += part.T @ part
    axes = np.linalg.eigh(spread)[1][:, ::-1][:, :count]
    largest = axes[np.argmax(np.abs(axes), axis=0), np.arange(axes.shape[1])]
    return np.asarray(centred @ (axes * np.where(largest < 0, -1.0, 1.0)), dtype=np.float32)


def framed(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Move and scale points (N, 2) into [-1, 1], alike in both directions; one place is (0, 0)."""
    if not len(points):
        return np.empty((0, 2), dtype=np.float32)
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    half = float((high - low).max()) / 2
    if half < ALIKE:
        return np.zeros((len(points), 2), dtype=np.float32)
    return np.asarray(np.clip((points - (low + high) / 2) / half, -1, 1), dtype=np.float32)


def placed(
    vectors: NDArray[np.float32],
    *,
    among: NDArray[np.float32],
    points: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Put vectors (n, D) where their neighbours lie → (n, 2).

    In each direction the median of the nearest few, which lies among most of them and not in the
    void between two groups.

    Args:
        vectors: to be placed.
        among: (M, D) those that have a place.
        points: (M, 2) theirs.
    """
    if not len(among):
        return np.zeros((len(vectors), 2), dtype=np.float32)
    found = np.empty((len(vectors), 2), dtype=np.float32)
    squares = (among**2).sum(axis=1) / 2
    count = min(NEIGHBOURS, len(among))
    for first in range(0, len(vectors), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        far = squares - vectors[part] @ among.T  # half the squared distance, but for a constant
        nearest = np.argpartition(far, count - 1, axis=1)[:, :count]
        found[part] = np.median(points[nearest], axis=1)
    return found


def _two(components: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first two columns; what is missing is 0."""
    columns = np.zeros((len(components), 2), dtype=np.float32)
    columns[:, : min(2, components.shape[1])] = components[:, :2]
    return columns


def _environment() -> dict[str, str]:
    """Let the process find the same modules, and leave the other cores alone."""
    search = os.pathsep.join(path for path in sys.path if path)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return os.environ | dict.fromkeys(names, "1") | {"PYTHONPATH": search}


# The other process


def main() -> None:
    """Read components from the input, write points to the output; see `Projection`."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that nothing else can write between
    with suppress(OSError):
        os.nice(10)
    source = sys.stdin.buffer
    rows, columns = np.frombuffer(source.read(16), dtype="<i8").tolist()
    content = source.read(rows * columns * 4)
    components = np.frombuffer(content, dtype="<f4").astype(np.float32).reshape(rows, columns)
    threading.Thread(target=_end_with_parent, args=(source.fileno(),), daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="clap-musicgen-", ignore_cleanup_errors=True) as spare:
        _choose_cache(spare)
        points = pacmap_points(components)
    answers.write(points.astype("<f4").tobytes())
    answers.close()


def _end_with_parent(source: int) -> None:
    os.read(source, 1)  # nothing comes any more: it ends when the parent does
    os._exit(1)


def pacmap_points(components: NDArray[np.float32]) -> NDArray[np.float32]:
    """PaCMAP of components (N, C) → (N, 2); to be called in a process of its own."""
    import pacmap

    mapper = pacmap.PaCMAP(n_components=2, apply_pca=False, random_state=SEED)
    # A copy: it centres and scales what it is given in place.
    found = mapper.fit_transform(components.copy(), init=components[:, :2].copy())
    return np.asarray(found, dtype=np.float32)


def _choose_cache(spare: str) -> None:
    """Let compiled code be kept for the next time; in `spare` where it cannot, as in a container.

    Without any place PaCMAP could not even be imported.
    """
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    from platformdirs import user_cache_path

    folder = user_cache_path("clap-musicgen", appauthor=False) / "numba"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder) if os.access(folder, os.W_OK) else spare
