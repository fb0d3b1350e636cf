"""The map of a library: kept, made anew, newcomers by their neighbours, names for what is heard."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import made_library
from clap_musicgen.errors import LibraryError
from clap_musicgen.library import Library, map_layout, projecting, tagging
from clap_musicgen.library.folder import MAP
from clap_musicgen.library.map_layout import (
    FACETS,
    NOTHING,
    Layout,
    facet_labels,
    labels_that_fit,
    read_layout,
    write_layout,
)
from clap_musicgen.library.place import Folder
from clap_musicgen.library.projecting import Projection
from clap_musicgen.library.store import Store
from clap_musicgen.library.vocabulary import VOCABULARY
from fake_embedder import FakeEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embeddings
    from clap_musicgen.library.projecting import Method


def model(fingerprint: str = "made-1") -> FakeEmbedder:
    return quick(FakeEmbedder(fingerprint, dim=made_library.DIM))


def quick(embedder: FakeEmbedder) -> FakeEmbedder:
    """Texts are short sounds to it, and soon embedded."""
    embedder.clip_seconds = 0.05
    return embedder


class Listening(FakeEmbedder):
    """Remembers the texts it has embedded."""

    def __init__(self, fingerprint: str, *, dim: int) -> None:
        super().__init__(fingerprint, dim=dim)
        self.texts: list[str] = []

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        self.texts += texts
        return super().embed_text(texts)


class Counted(Projection):
    """Counts how often it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __call__(self, vectors: Embeddings, method: Method) -> NDArray[np.float32]:
        self.calls += 1
        return super().__call__(vectors, method)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made_library.make_some(tmp_path / "library", 6)
    return tmp_path / "library"


class TestMaking:
    def test_columns_belong_together(self, folder: Path) -> None:
        with Library.open(folder, model()) as library:
            assert library.map_so_far() is None
            found = library.map()
            assert [track.path for track in found.tracks] == [t.path for t in library.tracks()]
            assert found.method == "pca"
            assert found.fresh
            assert found.version == library.version()
            assert found.x.shape == found.y.shape == (7,)
            assert len(found.genres) == len(found.moods) == 7
            assert max(np.abs(found.x).max(), np.abs(found.y).max()) == pytest.approx(1)
            rows = {track.path: row for row, track in enumerate(found.tracks)}
            first, copy = rows["/music/0.wav"], rows["/music/copy.wav"]
            assert (found.x[first], found.y[first]) == (found.x[copy], found.y[copy])

    def test_it_is_kept_for_whoever_opens_the_library_next(self, folder: Path) -> None:
        counted = Counted()
        with Library.open(folder, model()) as library:
            found = library.map(by=counted)
            assert library.map(by=counted) is found
        with Library.open(folder, model()) as library:
            again = library.map_so_far()
            assert again is not None
            assert again.fresh
            np.testing.assert_array_equal(again.x, found.x)
            library.map(by=counted)
        assert counted.calls == 1

    @pytest.mark.parametrize("count", [0, 1, 2, 3])
    def test_the_smallest_libraries(self, tmp_path: Path, count: int) -> None:
        tracks = [made_library.track_of(f"/m/{n}.wav", str(n)) for n in range(count)]
        made_library.make(tmp_path / "library", [tracks] if tracks else [])
        with Library.open(tmp_path / "library", model()) as library:
            found = library.map()
            assert len(found.tracks) == len(found.x) == len(found.moods) == count
            assert library.map_so_far() is found

    def test_another_method_is_not_kept(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(projecting, "LEAST", 3)
        monkeypatch.setattr(projecting, "available", lambda: "pacmap")
        with Library.open(folder, model()) as library:
            found = library.map(method="pca")
            assert (found.method, found.fresh) == ("pca", False)
            assert library.map_so_far() is None
        assert not (folder / MAP).exists()

    def test_what_was_ended_is_not_kept(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(projecting, "LEAST", 3)
        monkeypatch.setattr(projecting, "available", lambda: "pacmap")
        projection = Projection()
        projection.stop()
        with Library.open(folder, model()) as library:
            with pytest.raises(LibraryError, match="ended"):
                library.map(by=projection)
            assert library.map_so_far() is None

    def test_a_place_where_we_may_not_write_costs_only_time(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(self: Folder, name: str, content: bytes) -> None:
            raise PermissionError(13, "Permission denied")

        with Library.open(folder, model()) as library:
            monkeypatch.setattr(Folder, "write", refuse)
            assert library.map().fresh
            assert library.map_so_far() is library.map()
        assert not (folder / MAP).exists()


class TestChanges:
    def test_newcomers_lie_by_their_neighbours_until_the_map_is_made_anew(
        self, folder: Path
    ) -> None:
        with Library.open(folder, model()) as library:
            before = library.map()
            Store(folder, dim=made_library.DIM).commit(
                [made_library.track_of("/music/new.wav", "new")]
            )
            found = library.map_so_far()
            assert found is not None
            assert (found.fresh, len(found.tracks)) == (False, 8)
            rows = [row for row, t in enumerate(found.tracks) if t.path != "/music/new.wav"]
            np.testing.assert_array_equal(found.x[rows], before.x)
            new = next(row for row, t in enumerate(found.tracks) if t.path == "/music/new.wav")
            assert found.x[new] in before.x  # the median of five is one of them
            after = library.map()
            assert after.fresh
            assert library.map_so_far() is after

    def test_what_is_gone_is_gone_from_the_map(self, folder: Path) -> None:
        with Library.open(folder, model()) as library:
            library.map()
            library.remove("/music/3.wav")
            found = library.map_so_far()
            assert found is not None
            assert not found.fresh
            assert "/music/3.wav" not in [track.path for track in found.tracks]

    def test_a_copy_more_changes_no_point(self, folder: Path) -> None:
        with Library.open(folder, model()) as library:
            library.map()
            library.remove("/music/copy.wav")
            found = library.map_so_far()
            assert found is not None
            assert found.fresh
            assert len(found.x) == 6

    def test_another_models_points_are_not_taken(self, folder: Path) -> None:
        with Library.open(folder, model()) as library:
            library.map()
            kept = read_layout(Folder(folder))
            assert kept is not None
            assert write_layout(Folder(folder), replace(kept, recipe=kept.recipe + "0"))
        with Library.open(folder, model()) as library:
            assert library.map_so_far() is None

    def test_another_release_of_the_method_makes_it_stale_but_not_useless(
        self, folder: Path
    ) -> None:
        with Library.open(folder, model()) as library:
            library.map()
            kept = read_layout(Folder(folder))
            assert kept is not None
            old = replace(kept, method="pacmap", recipe="0 of made-1")
            assert write_layout(Folder(folder), old)
        with Library.open(folder, model()) as library:
            found = library.map_so_far()
            assert found is not None
            assert (found.fresh, found.method) == (False, "pacmap")
            assert library.map().method == "pca"


class TestTheFile:
    LAYOUT = Layout(
        "pca",
        "1 pca of made-1",
        np.array([made_library.content_of(name) for name in "ab"]),
        np.array([[-1, 0.5], [1, -0.5]], dtype=np.float32),
        ("jazz", "calm"),
        np.array([[0, 1], [NOTHING, NOTHING]], dtype=np.int16),
    )

    def test_it_comes_back(self, tmp_path: Path) -> None:
        assert write_layout(Folder(tmp_path), self.LAYOUT)
        found = read_layout(Folder(tmp_path))
        assert found is not None
        assert (found.method, found.recipe) == (self.LAYOUT.method, self.LAYOUT.recipe)
        assert found.contents.tolist() == self.LAYOUT.contents.tolist()
        assert found.points.tolist() == self.LAYOUT.points.tolist()
        assert (found.words(0), found.words(1)) == (["jazz", ""], ["calm", ""])

    @pytest.mark.parametrize(
        "wrong",
        [
            {"points": np.zeros((3, 2), dtype=np.float32)},
            {"points": np.full((2, 2), np.nan, dtype=np.float32)},
            {"heard": np.zeros((2, 3), dtype=np.int16)},
            {"heard": np.full((2, 2), 2, dtype=np.int16)},
        ],
    )
    def test_columns_that_do_not_belong_together(
        self, tmp_path: Path, wrong: dict[str, Any]
    ) -> None:
        write_layout(Folder(tmp_path), replace(self.LAYOUT, **wrong))
        assert read_layout(Folder(tmp_path)) is None

    @pytest.mark.parametrize("content", [b"", b"PK", b"\x00" * 300])
    def test_what_is_no_map_is_none(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / MAP).write_bytes(content)
        assert read_layout(Folder(tmp_path)) is None

    def test_one_that_was_cut_off_is_none(self, tmp_path: Path) -> None:
        write_layout(Folder(tmp_path), self.LAYOUT)
        whole = (tmp_path / MAP).read_bytes()
        for size in range(0, len(whole), 31):
            (tmp_path / MAP).write_bytes(whole[:size])
            assert read_layout(Folder(tmp_path)) is None

    def test_code_in_it_is_not_run(self, tmp_path: Path) -> None:
        stream = io.BytesIO()
        about = np.array([object()], dtype=object)
        np.savez(stream, about=about, contents=np.array(["a"]), points=np.zeros((1, 2)))
        (tmp_path / MAP).write_bytes(stream.getvalue())
        assert read_layout(Folder(tmp_path)) is None

    def test_a_damaged_one_is_replaced(self, folder: Path) -> None:
        (folder / MAP).write_bytes(b"PK")
        with Library.open(folder, model()) as library:
            assert library.map().fresh
        assert read_layout(Folder(folder)) is not None


class TestNames:
    def test_the_files_own_genre_else_what_is_heard(self, folder: Path) -> None:
        with Library.open(folder, model()) as library:
            found = library.map()
            assert set(found.genres) == {"jazz"}
            assert set(found.moods) <= {*VOCABULARY["mood"], ""}

    def test_the_best_label_that_passes_the_bar(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        labels = facet_labels()
        scores = np.zeros((6, len(labels.names)), dtype=np.float32)
        genre, mood = (labels.facets.index(facet) for facet in FACETS)
        scores[0, [genre + 1, genre + 2]] = 0.85, 0.95
        scores[1, mood] = 0.9
        scores[2, mood] = 0.49
        monkeypatch.setattr(tagging, "tag_scores", lambda *_, **__: scores)
        with Library.open(folder, model()) as library:
            asking = library._ask()
            found = labels_that_fit(asking.state.means(), asking, np.zeros((1, 8), np.float32))
        assert found[0].tolist() == [genre + 2, NOTHING]
        assert found[1].tolist() == [NOTHING, mood]
        assert (found[2:] == NOTHING).all()

    def test_newcomers_are_named_unless_they_are_many(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def name_all(means: Embeddings, *_: object) -> NDArray[np.int16]:
            return np.full((len(means), 2), facet_labels().names.index("calm"), dtype=np.int16)

        monkeypatch.setattr(map_layout, "labels_that_fit", name_all)
        with Library.open(folder, model()) as library:
            assert set(library.map().moods) == {"calm"}
            store = Store(folder, dim=made_library.DIM)
            for name, most, mood in (("new", 1, "calm"), ("newer", 0, "")):
                monkeypatch.setattr(map_layout, "MOST_NAMED", most)
                store.commit([made_library.track_of(f"/music/{name}.wav", name)])
                found = library.map_so_far()
                assert found is not None
                moods = {track.path: m for track, m in zip(found.tracks, found.moods, strict=True)}
                assert moods[f"/music/{name}.wav"] == mood
                assert moods["/music/0.wav"] == "calm"
                library.map()

    def test_labels_are_embedded_once(self, folder: Path) -> None:
        heard = Listening("made-1", dim=made_library.DIM)
        quick(heard)
        with Library.open(folder, heard) as library:
            library.map()
            library.remove("/music/1.wav")
            library.map()
        assert heard.texts.count("a funny track") == 1
