"""What a large library costs: building, opening, searching, adding, bytes, memory; beside faiss.

    python benchmarks/library_size.py --sizes 100000 1000000 --markdown size.md

The vectors are made up (see synthetic.py), everything else is the library's own code from the store
upward: only files and the model are missing. Each step runs in a process of its own, so that memory
is its own. Questions are half sounds, half words, corrected as the library corrects them. Recall@10
is the share of the ten best by exact float32 scores that are found.
"""

from __future__ import annotations

import argparse
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from size_rows import ROWS, cell
from tables import Table, add_output_options, deliver, machine_note, positive
from timing import limit_threads, machine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embeddings
    from clap_musicgen.library.resident import State
    from clap_musicgen.library.rows import NewTrack
    from clap_musicgen.library.store import Store
    from synthetic import Music

K = 10
ADDED = 1_000
"""Tracks whose adding is timed, in the groups in which `Library.add` commits."""
STEPS = ("build", "search", "add", "exact", "hnsw")


def main() -> int:
    options = _options()
    if options.step:  # in a child, which has its threads from the environment
        found = RUN[options.step](options, Path(options.folder))
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    limit_threads(options.threads)
    results = {}
    for size in options.sizes:
        with tempfile.TemporaryDirectory(prefix="library-size-", dir=options.folder) as folder:
            steps = [step for step in STEPS if step != "hnsw" or not options.no_hnsw]
            results[size] = {step: _in_child(step, options, size, folder) for step in steps}
    _deliver(options, results)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=positive, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=positive, default=256)
    parser.add_argument("--questions", type=positive, default=100)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--no-hnsw", action="store_true", help="leave faiss's HNSW out: it is slow")
    parser.add_argument("--folder", help="where to put what is measured (needs 3 KB a clip)")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    add_output_options(parser)
    return parser.parse_args()


def _in_child(step: str, options: argparse.Namespace, size: int, folder: str) -> dict[str, Any]:
    """Run one step in a process of its own and return what it found."""
    command = [sys.executable, __file__, "--step", step, "--sizes", str(size), "--folder", folder]
    for name in ("dim", "questions", "threads"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    sys.stderr.write(f"{size} {step}: {done.stdout}")
    return dict(json.loads(done.stdout))


# The steps, each in a child


def build(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Write the library in big commits; the index is made when the store finds it pays."""
    import size_tracks
    from clap_musicgen.library.store import Store
    from clap_musicgen.library.tables import KEEP_VERSIONS

    music = _music(options)
    store = Store.create(folder / "library", dim=options.dim)
    store.write_texts([f"caption {number}" for number in range(300)], music.captions())
    seconds = 0.0
    for first, tracks in size_tracks.groups(music, new_from=0):
        started = time.perf_counter()
        store.write_rows(*size_tracks.tables(tracks, options.dim), replaces=False)
        seconds += time.perf_counter() - started
        del tracks, first
    started = time.perf_counter()
    store.compact()
    finished = time.perf_counter() - started
    time.sleep(KEEP_VERSIONS.total_seconds() + 1)  # until then old states are kept for readers
    store.compact()  # clears them away
    return {
        "write_s": seconds,
        "compact_s": finished,
        "bytes": _bytes(folder / "library"),
        "index_bytes": _bytes(folder / "library" / "clips.lance" / "_indices"),
        "peak_mb": _peak(),
    }


def search(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Open in a fresh process, then ask: first by tracks, then by clips."""
    import lancedb  # noqa: F401 - its own import takes a second, which is not the library's size

    from clap_musicgen.library.store import Store

    raw = _raw_questions(options)
    started = time.perf_counter()
    store = Store(folder / "library", dim=options.dim)
    count = store.count_tracks()
    opened = time.perf_counter() - started
    state = store.resident()
    loaded = time.perf_counter() - started
    asked = [state.correction.question(one, kind) for one, kind in raw]
    _answer(state, asked[0])
    first = time.perf_counter() - started
    tracks = _timed(lambda direction: _answer(state, direction), asked)
    after_tracks = _now()
    clips = _timed(lambda direction: state.ranked_clips(direction, k=K), asked)
    found = {
        "directions": asked,
        "tracks": [_numbers(state, state.ranked(one, k=K).rows) for one in asked],
        "clips": [_clip_numbers(state, one) for one in asked],
        "correction": state.correction,
    }
    (folder / "found.pickle").write_bytes(pickle.dumps(found))
    return {
        "count": count,
        "open_s": opened,
        "load_s": loaded,
        "first_s": first,
        "tracks_ms": tracks,
        "clips_ms": clips,
        "tracks_mb": after_tracks,
        "all_mb": _now(),
        "peak_mb": _peak(),
    }


def add(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Add 1,000 tracks in groups of 16 to an empty library and to the large one, by turns."""
    import size_tracks
    from clap_musicgen.library.store import Store
    from synthetic import Music

    rounds: dict[str, list[float]] = {"empty": [], "large": []}
    for number in range(3):
        empty = Store.create(folder / f"empty-{number}", dim=options.dim)
        large = Store(folder / "library", dim=options.dim)
        music = Music(ADDED, options.dim, seed=number + 1)
        new_from = 10**9 + number * ADDED
        tracks = [
            track for _, part in size_tracks.groups(music, new_from=new_from) for track in part
        ]
        for name, store in (("empty", empty), ("large", large)):
            rounds[name].append(_add(store, tracks))
    return {name: sorted(seconds)[1] for name, seconds in rounds.items()}


def exact(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Recall against exact float32 scores; faiss's flat index over the same vectors."""
    import faiss
    import numpy as np

    import size_tracks
    from clap_musicgen.library.rows import packed

    music, found = _music(options), _found(folder)
    vectors = np.concatenate(list(music.blocks()))
    directions = np.asarray(found["directions"], dtype=np.float32)
    corrected = found["correction"].music(vectors)
    truth = _best(corrected, directions)
    halves = found["correction"].music(packed(vectors).astype(np.float32))
    means = found["correction"].music(size_tracks.means(vectors))
    recalls = {
        "clips_recall": _recall(found["clips"], truth),
        "tracks_recall": _recall(found["tracks"], _best(means, directions)),
        "half_recall": _recall(_best(halves, directions), truth),
    }
    del halves, means
    faiss.omp_set_num_threads(options.threads)
    np.save(folder / "corrected.npy", corrected)
    index = faiss.IndexFlatIP(options.dim)
    seconds = _seconds(lambda: index.add(corrected))
    times = _timed(lambda direction: index.search(direction[None], K), list(directions))
    np.save(folder / "truth.npy", np.asarray(truth))
    return {**recalls, "flat_build_s": seconds, "flat_ms": times}


def hnsw(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """faiss's HNSW over the same vectors, with parameters that are usual for it."""
    import faiss
    import numpy as np

    faiss.omp_set_num_threads(options.threads)
    found = _found(folder)
    index = faiss.IndexHNSWFlat(options.dim, 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 40, 64
    vectors = np.load(folder / "corrected.npy", mmap_mode="r")
    seconds = 0.0
    for first in range(0, len(vectors), 50_000):
        block = np.array(vectors[first : first + 50_000])
        seconds += _seconds(partial(index.add, block))
    directions = found["directions"]
    times = _timed(lambda direction: index.search(direction[None], K), directions)
    answers = [index.search(direction[None], K)[1][0].tolist() for direction in directions]
    truth = np.load(folder / "truth.npy").tolist()
    return {"build_s": seconds, "ms": times, "recall": _recall(answers, truth), "rss_mb": _now()}


RUN: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "build": build,
    "search": search,
    "add": add,
    "exact": exact,
    "hnsw": hnsw,
}


# Parts of them


def _found(folder: Path) -> dict[str, Any]:
    """What the step `search` has found."""
    return dict(pickle.loads((folder / "found.pickle").read_bytes()))  # noqa: S301 - our own


def _music(options: argparse.Namespace) -> Music:
    from synthetic import CLIPS_PER_TRACK, Music

    return Music(options.sizes[0] // CLIPS_PER_TRACK, options.dim)


def _raw_questions(
    options: argparse.Namespace,
) -> list[tuple[NDArray[np.float32], Literal["text", "sound"]]]:
    music, half = _music(options), options.questions // 2
    sounds, words = music.sounds(half), music.words(options.questions - half)
    return [(one, "sound") for one in sounds] + [(one, "text") for one in words]


def _answer(state: State, direction: NDArray[np.float32]) -> list[Any]:
    """A whole answer, as a search gives it: tracks, scores, where to listen."""
    found = state.ranked(direction, k=K)
    state.best_segments(state.content_rows[found.rows], direction)
    return [state.tracks[row] for row in found.rows.tolist()]


def _add(store: Store, tracks: list[NewTrack]) -> float:
    """Seconds of what `Library.add` does in the store."""
    started = time.perf_counter()
    store.sweep()
    known = store.known()
    for first in range(0, len(tracks), 16):
        group = tracks[first : first + 16]
        for track in group:
            known.get(track.content)
            known.has_content(track.content)
        store.commit(group)
    return time.perf_counter() - started


def _numbers(state: State, rows: NDArray[np.int64]) -> list[int]:
    return [int(state.tracks[row].title.removeprefix("title ")) for row in rows.tolist()]


def _clip_numbers(state: State, direction: NDArray[np.float32]) -> list[int]:
    from synthetic import CLIP_SECONDS, CLIPS_PER_TRACK

    found = state.ranked_clips(direction, k=K)
    places = (found.starts / CLIP_SECONDS).round().astype(int).tolist()
    numbers = _numbers(state, found.rows)
    return [CLIPS_PER_TRACK * number + place for number, place in zip(numbers, places, strict=True)]


def _best(vectors: Embeddings, directions: NDArray[np.float32]) -> list[list[int]]:
    import numpy as np

    from clap_musicgen.library.nearest import top_k

    return [top_k(np.asarray(vectors @ direction), K).tolist() for direction in directions]


def _recall(found: list[list[int]], truth: list[list[int]]) -> float:
    hits = sum(len({*ours} & {*best}) for ours, best in zip(found, truth, strict=True))
    return hits / sum(map(len, truth))


def _timed(ask: Callable[[Any], object], asked: list[Any]) -> dict[str, float]:
    """Milliseconds of one question after another, the first (which may load) apart."""
    import numpy as np

    first = 1000 * _seconds(partial(ask, asked[0]))
    spent = [1000 * _seconds(partial(ask, one)) for one in asked]
    p50, p95 = np.percentile(spent, [50, 95])
    return {"first": first, "p50": float(p50), "p95": float(p95)}


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _now() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return _peak()


def _deliver(options: argparse.Namespace, results: dict[int, dict[str, Any]]) -> None:
    about = machine(options.threads)
    note = f"{machine_note(about)} Vectors of {options.dim} dimensions, 20 clips a track."
    sizes = tuple(f"{size:,} clips" for size in results)
    rows = [
        (label, *(cell(form, of, found) for found in results.values())) for label, form, of in ROWS
    ]
    kept = [row for row in rows if any(cell != "–" for cell in row[1:])]
    table = Table("A large library, beside faiss", ("", *sizes), kept, [note])
    deliver(options, {"machine": about, "results": results}, [table])


if __name__ == "__main__":
    sys.exit(main())
