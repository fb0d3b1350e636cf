"""Points of a plane: signs, frames, neighbours, and PaCMAP in a process that may fail."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clap_musicgen.embedding import unit
from clap_musicgen.errors import InputError, LibraryError
from clap_musicgen.library import projecting
from clap_musicgen.library.projecting import Projection, framed, method_for, placed, principal

if TYPE_CHECKING:
    from numpy.typing import NDArray

needs_pacmap = pytest.mark.skipif(
    projecting.available() != "pacmap", reason="PaCMAP is an extra: clap-musicgen[map]"
)


def groups(count: int, *, kinds: int = 4, dim: int = 16) -> NDArray[np.float32]:
    """Vectors around a few centres; row i is of kind i % kinds."""
    generator = np.random.default_rng(5)
    centres = generator.normal(size=(kinds, dim))
    noise = 0.2 * generator.normal(size=(count, dim))
    return unit(centres[np.arange(count) % kinds] + noise)


class TestPrincipal:
    def test_axes_by_spread_with_fixed_signs(self) -> None:
        generator = np.random.default_rng(0)
        vectors = (generator.normal(size=(60, 3)) * [1, 5, 0.1] + 7).astype(np.float32)
        found = principal(vectors, 2)
        assert found.shape == (60, 2)
        assert found.dtype == np.float32
        centred = vectors - vectors.mean(axis=0)
        assert np.corrcoef(found[:, 0], centred[:, 1])[0, 1] > 0.99  # and not -0.99
        assert np.corrcoef(found[:, 1], centred[:, 0])[0, 1] > 0.99

    def test_the_order_of_rows_does_not_matter(self) -> None:
        vectors = groups(50)
        turned = principal(vectors[::-1].copy(), 2)[::-1]
        np.testing.assert_allclose(principal(vectors, 2), turned, atol=1e-5)

    def test_distances_are_kept_where_all_components_are(self) -> None:
        vectors = groups(20, dim=6)
        found = principal(vectors, 6)
        assert np.linalg.norm(found[3] - found[8]) == pytest.approx(
            np.linalg.norm(vectors[3] - vectors[8]), abs=1e-5
        )


class TestFramed:
    @given(arrays(np.float32, (7, 2), elements=st.floats(-1e4, 1e4, width=32)))
    def test_within_the_frame_and_alike_in_both_directions(
        self, points: NDArray[np.float32]
    ) -> None:
        found = framed(points)
        assert np.abs(found).max() <= 1
        spread = np.ptp(points.astype(np.float64), axis=0)
        if spread.max() > 0.01:
            assert np.ptp(found, axis=0).max() == pytest.approx(2, abs=1e-3)
            np.testing.assert_allclose(np.ptp(found, axis=0), 2 * spread / spread.max(), atol=1e-3)

    def test_one_place_is_the_middle(self) -> None:
        assert framed(np.full((3, 2), 5.0)).tolist() == [[0, 0]] * 3


class TestPlaced:
    def test_among_most_of_the_neighbours(self) -> None:
        among = np.eye(12, dtype=np.float32)
        points = np.zeros((12, 2), dtype=np.float32)
        points[:3], points[3:5] = (0.5, -0.5), (-1, 1)
        vector = among[:5].sum(axis=0, keepdims=True)
        assert placed(vector, among=among, points=points).tolist() == [[0.5, -0.5]]

    def test_few_neighbours_and_none(self) -> None:
        vectors = np.ones((2, 3), dtype=np.float32)
        nothing, place = np.empty((0, 3), dtype=np.float32), np.empty((0, 2), dtype=np.float32)
        assert placed(vectors, among=nothing, points=place).tolist() == [[0, 0]] * 2
        one = np.array([[0.25, 0.75]], dtype=np.float32)
        assert placed(vectors, among=vectors[:1], points=one).tolist() == [[0.25, 0.75]] * 2

    def test_more_than_are_compared_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        vectors, points = groups(30), principal(groups(30), 2)
        whole = placed(vectors, among=vectors, points=points)
        monkeypatch.setattr(projecting, "_ROWS_AT_ONCE", 7)
        np.testing.assert_array_equal(placed(vectors, among=vectors, points=points), whole)


class TestMethods:
    def test_few_vectors_get_principal_components(self) -> None:
        assert method_for(projecting.LEAST - 1) == "pca"
        assert method_for(projecting.LEAST) == projecting.available()
        assert method_for(10**6, "pca") == "pca"

    def test_unknown_or_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(InputError, match="'tsne'"):
            method_for(100, "tsne")  # type: ignore[arg-type]
        monkeypatch.setattr(projecting, "available", lambda: "pca")
        with pytest.raises(InputError, match=r"clap-musicgen\[map\]"):
            method_for(100, "pacmap")

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
    def test_the_smallest_libraries(self, count: int) -> None:
        found = Projection()(groups(count), "pacmap")
        assert found.shape == (count, 2)
        if count < 2:
            assert not found.any()
        else:
            assert np.ptp(found[:, 0]) == pytest.approx(2)

    def test_vectors_that_are_all_alike(self) -> None:
        same = np.repeat(groups(1), 60, axis=0)
        assert not Projection()(same, "pacmap").any()


class Halved(Projection):
    """Takes the first two components for what PaCMAP would say."""

    def _pacmap(self, components: NDArray[np.float32]) -> NDArray[np.float32]:
        self.rows = len(components)
        return components[:, :2]


def test_of_too_many_some_are_projected_and_the_rest_is_placed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(projecting, "MOST", 40)
    vectors, halved = groups(100), Halved()
    found = halved(vectors, "pacmap")
    assert halved.rows == 34
    kinds = np.arange(100) % 4
    centres = np.stack([found[kinds == kind].mean(axis=0) for kind in range(4)])
    nearest = np.linalg.norm(found[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, kinds)


class TestTheOtherProcess:
    """What becomes of a computation that does not end well; each program stands for one end."""

    @pytest.mark.parametrize(
        ("program", "message"),
        [
            ("raise SystemExit('no memory for this')", "exit code 1, no memory for this"),
            ("import os; os.kill(os.getpid(), 9)", "signal 9"),
            ("import sys; sys.stdout.write('short')", "exit code 0"),
            (
                "import sys, numpy; sys.stdin.buffer.read(16); "
                "sys.stdout.buffer.write(numpy.full(120, numpy.nan, '<f4').tobytes())",
                "no finite places",
            ),
        ],
    )
    def test_failures(self, program: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(projecting, "_PROGRAM", program)
        with pytest.raises(LibraryError, match=message):
            Projection()(groups(60), "pacmap")

    def test_it_can_be_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(projecting, "_PROGRAM", "import time; time.sleep(600)")
        projection = Projection()
        errors: list[Exception] = []

        def compute() -> None:
            try:
                projection(groups(60), "pacmap")
            except LibraryError as error:
                errors.append(error)

        thread = threading.Thread(target=compute)
        thread.start()
        while projection._process is None:
            time.sleep(0.01)
        projection.stop()
        thread.join()
        assert "ended" in str(errors[0])
        with pytest.raises(LibraryError, match="ended"):
            projection(groups(60), "pacmap")


@needs_pacmap
@pytest.mark.slow
def test_pacmap_keeps_groups_apart_and_always_gives_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = groups(80)
    found = Projection()(vectors, "pacmap")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    np.testing.assert_array_equal(Projection()(vectors, "pacmap"), found)
    kinds = np.arange(80) % 4
    centres = np.stack([found[kinds == kind].mean(axis=0) for kind in range(4)])
    distances = np.linalg.norm(found[:, None] - centres, axis=2)
    np.testing.assert_array_equal(distances.argmin(axis=1), kinds)
    assert np.abs(found).max() == pytest.approx(1)
