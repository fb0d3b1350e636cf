"""Playlists: which tracks in which order, beside slow and obvious twins, and the file of one."""

from __future__ import annotations

import itertools
import os
import stat
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clap_musicgen.embedding import unit
from clap_musicgen.errors import InputError, InputTypeError
from clap_musicgen.library.m3u import m3u8
from clap_musicgen.library.output import write_new
from clap_musicgen.library.playlists import (
    STEP_POWER,
    Length,
    Pool,
    angles,
    cheapest_chain,
    path,
    smooth_order,
    smooth_path,
    theme,
)
from clap_musicgen.library.records import Track

TRACK = Track("/music/a.mp3", "Calm", "Nina", "", "", None, 61.4, "00", "")


def vectors_of(seed: int, count: int, dim: int = 4) -> NDArray[np.float32]:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def pool_of(seed: int, count: int, *, seconds: float = 200.0, artists: int = 0) -> Pool:
    rng = np.random.default_rng(seed)
    names = [f"artist {n}" if artists else "" for n in rng.integers(0, max(artists, 1), count)]
    return Pool(vectors_of(seed, count, dim=16), rng.uniform(0.5, 1.5, count) * seconds, names)


def jumps(vectors: NDArray[np.float32], order: list[int]) -> NDArray[np.float64]:
    """The angles from each track to the next."""
    along = vectors[order].astype(np.float64)
    return np.asarray(np.arccos(np.clip((along[:-1] * along[1:]).sum(axis=1), -1, 1)))


def cost(vectors: NDArray[np.float32], order: list[int], power: int = 2) -> float:
    return float((jumps(vectors, order) ** power).sum())


class TestOrder:
    @given(st.integers(0, 10_000), st.integers(0, 12))
    def test_it_is_an_order_of_all_with_the_first_one_first(self, seed: int, count: int) -> None:
        order = smooth_order(vectors_of(seed, count))
        assert sorted(order) == list(range(count))
        assert order[:1] == list(range(count))[:1]

    @given(st.integers(0, 10_000), st.integers(3, 9))
    def test_turning_no_part_round_would_make_it_smoother(self, seed: int, count: int) -> None:
        vectors = vectors_of(seed, count)
        order = smooth_order(vectors)
        for i, j in itertools.combinations(range(1, count), 2):
            turned = order[:i] + order[i : j + 1][::-1] + order[j + 1 :]
            assert cost(vectors, order) <= cost(vectors, turned) + 1e-6

    def test_it_is_close_to_the_best_of_all_orders(self) -> None:
        ratios = []
        for seed in range(30):
            vectors = vectors_of(seed, 7)
            best = min(cost(vectors, [0, *rest]) for rest in itertools.permutations(range(1, 7)))
            ratios.append(cost(vectors, smooth_order(vectors)) / best)
        assert min(ratios) >= 1 - 1e-9
        assert np.mean(ratios) < 1.05
        assert np.median(ratios) < 1.001

    def test_a_long_list_is_ordered_too(self) -> None:
        vectors = vectors_of(0, 700)
        order = smooth_order(vectors)
        assert sorted(order) == list(range(700))
        assert cost(vectors, order) < cost(vectors, list(range(700))) / 4

    def test_angles(self) -> None:
        east, north = np.array([1.0, 0.0]), np.array([0.0, 1.0])
        found = angles(np.stack([east, north]), np.stack([east, -east]))
        assert found == pytest.approx(np.array([[0, np.pi], [np.pi / 2, np.pi / 2]]))


class TestTheme:
    @given(st.integers(0, 1_000), st.integers(1, 30), st.integers(1, 30))
    def test_the_best_ones_are_in_it_and_the_best_is_first(
        self, seed: int, count: int, k: int
    ) -> None:
        found = theme(pool_of(seed, count), Length(k)).tolist()
        assert found[0] == 0
        assert sorted(found) == list(range(min(k, count)))

    def test_an_artist_gets_so_many(self) -> None:
        pool = pool_of(0, 60, artists=5)
        found = theme(pool, Length(10), per_artist=2).tolist()
        heard = [pool.artists[row] for row in found]
        assert len(found) == 10
        assert max(map(heard.count, heard)) == 2
        # The slow twin: go down the ranking.
        expected: list[int] = []
        for row in range(60):
            if sum(pool.artists[row] == pool.artists[other] for other in expected) < 2:
                expected.append(row)
        assert sorted(found) == expected[:10]

    def test_unknown_artists_are_not_one_artist(self) -> None:
        assert len(theme(pool_of(0, 12), Length(12), per_artist=1)) == 12

    def test_case_makes_no_other_artist(self) -> None:
        pool = replace(pool_of(0, 2), artists=["Nina", "NINA "])
        assert theme(pool, Length(2), per_artist=1).tolist() == [0]

    def test_a_recording_is_played_once(self) -> None:
        pool = pool_of(3, 4)
        vectors, durations = pool.vectors.copy(), pool.durations.copy()
        vectors[2], durations[2] = vectors[0], durations[0] + 1.0
        assert 2 not in theme(Pool(vectors, durations, pool.artists), Length(4))
        durations[2] += 60.0  # another length: another version
        assert 2 in theme(Pool(vectors, durations, pool.artists), Length(4))

    @given(st.integers(0, 1_000), st.floats(1.0, 300.0))
    def test_the_minutes_are_kept(self, seed: int, minutes: float) -> None:
        pool = pool_of(seed, 150)
        found = theme(pool, Length(minutes=minutes))
        total, wished = float(pool.durations[found].sum()), 60 * minutes
        if total > wished * 1.05:
            assert found.tolist() == [0]
            assert pool.durations.min() > wished * 1.05
        else:
            if wished < pool.durations.sum() / 2:
                assert total >= wished - pool.durations.max()

    def test_a_long_mix_does_not_end_the_list(self) -> None:
        durations = np.array([240.0, 7_200.0, *[240.0] * 30])
        found = theme(Pool(vectors_of(0, 32, dim=8), durations, [""] * 32), Length(minutes=60))
        assert sorted(found.tolist()) == [0, *range(2, 16)]

    def test_nothing_to_choose_from(self) -> None:
        nothing = Pool(np.empty((0, 4), dtype=np.float32), np.empty(0), [])
        assert theme(nothing, Length(5)).tolist() == []
        assert theme(nothing, Length(minutes=5)).tolist() == []

    def test_what_is_no_length(self) -> None:
        for tracks, minutes in [(None, None), (3, 5.0), (0, None), (None, 0.0), (None, np.nan)]:
            with pytest.raises(InputError):
                Length(tracks, minutes)
        with pytest.raises(InputTypeError, match=r"2\.5"):
            Length(2.5)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="per_artist"):
            theme(pool_of(0, 3), Length(2), per_artist=0)
        assert Length.of(None, None) == Length(25)


class TestPath:
    @given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 12))
    def test_it_has_both_ends_and_nothing_twice(self, seed: int, count: int, k: int) -> None:
        found = smooth_path(vectors_of(seed, count), 1, 0, k).tolist()
        assert (found[0], found[-1]) == (1, 0)
        assert len(found) == len(set(found)) == min(k, count)

    @given(st.integers(0, 10_000), st.integers(4, 10), st.integers(2, 7))
    def test_no_way_forward_has_a_smaller_sum(self, seed: int, count: int, k: int) -> None:
        """The slow twin goes through all choices of tracks, by their place between the ends."""
        vectors = vectors_of(seed, count)
        first = jumps(vectors, [0, 1])
        assert first.shape == (1,)
        middle = range(2, count)

        def place(row: int) -> tuple[float, int]:
            near, far = jumps(vectors, [0, row])[0], jumps(vectors, [row, 1])[0]
            return float(near / (near + far)), row

        ways = (
            [0, *sorted(chosen, key=place), 1]
            for chosen in itertools.combinations(middle, min(k, count) - 2)
        )
        best = min(cost(vectors, way, STEP_POWER) for way in ways)
        found = smooth_path(vectors, 0, 1, k).tolist()
        assert cost(vectors, found, STEP_POWER) == pytest.approx(best, abs=1e-5)

    @given(st.integers(0, 10_000), st.integers(2, 7), st.integers(2, 7))
    def test_the_cheapest_chain_is_the_cheapest(self, seed: int, count: int, k: int) -> None:
        costs = np.random.default_rng(seed).uniform(0, 1, (count, count))
        k = min(k, count)

        def price(chain: list[int]) -> float:
            return sum(float(costs[i, j]) for i, j in itertools.pairwise(chain))

        found = cheapest_chain(costs, k)
        ways = itertools.combinations(range(1, count - 1), k - 2)
        assert price(found) == pytest.approx(min(price([0, *way, count - 1]) for way in ways))

    def test_along_an_arc_the_steps_are_even(self) -> None:
        turn = np.linspace(0, np.pi / 2, 91)
        arc = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1).astype(np.float32)
        noise = vectors_of(0, 200, dim=3)
        found = smooth_path(np.concatenate([arc, noise]), 0, 90, 10).tolist()
        assert found == list(range(0, 91, 10))

    def test_smoother_than_the_nearest_to_even_points(self) -> None:
        """The plain way: at each step the unused track nearest to a point of the great circle."""
        worst, plain_worst = [], []
        for seed in range(20):
            vectors = vectors_of(seed, 400, dim=6)
            found = smooth_path(vectors, 0, 1, 8).tolist()
            angle = jumps(vectors, [0, 1])[0]
            plain = [0]
            for t in np.linspace(0, 1, 8)[1:-1]:
                point = np.sin((1 - t) * angle) * vectors[0] + np.sin(t * angle) * vectors[1]
                closest = np.argsort(-(vectors @ point))
                plain.append(next(int(n) for n in closest if n not in {1, *plain}))
            worst.append(jumps(vectors, found).max())
            plain_worst.append(jumps(vectors, [*plain, 1]).max())
        assert np.mean(worst) < 0.9 * np.mean(plain_worst)

    def test_opposite_ends_and_equal_ends_work(self) -> None:
        vectors = vectors_of(0, 30)
        vectors[1] = -vectors[0]
        assert len(smooth_path(vectors, 0, 1, 6)) == 6
        vectors[1] = vectors[0]
        assert len(smooth_path(vectors, 0, 1, 6)) == 6

    def test_all_tracks_in_one_part_of_the_way_are_enough(self) -> None:
        vectors = unit(np.array([1.0, 0, 0]) + 1e-3 * vectors_of(0, 300, dim=3))
        vectors[1] = [-1.0, 0, 0]
        found = smooth_path(vectors, 0, 1, 200).tolist()
        assert len(set(found)) == 200

    def test_recordings_are_not_repeated(self) -> None:
        vectors = vectors_of(0, 10)
        doubled = np.repeat(vectors, 2, axis=0)  # rows 2n and 2n + 1 are one recording
        durations = np.full(20, 180.0)
        found = smooth_path(doubled, 0, 19, 20, durations=durations).tolist()
        assert sorted(row // 2 for row in found) == list(range(10))

    def test_the_minutes_come_close(self) -> None:
        pool = pool_of(0, 300)
        found = path(pool, first=5, last=9, length=Length(minutes=40))
        assert abs(pool.durations[found].sum() / 60 - 40) < 4
        assert len(path(pool, first=5, last=9, length=Length(6))) == 6

    def test_what_is_no_path(self) -> None:
        with pytest.raises(InputError, match="both ends"):
            smooth_path(vectors_of(0, 3), 1, 1, 3)
        for k in (1, 501):
            with pytest.raises(InputError, match=f"not {k}"):
                smooth_path(vectors_of(0, 3), 0, 1, k)


def read_back(text: str, folder: str) -> list[tuple[str, bytes]]:
    """Read an extended M3U as players do: line by line → (info, path) of each track."""
    lines = text.encode().split(b"\n")
    assert lines[0] == b"#EXTM3U"
    found: list[tuple[str, bytes]] = []
    info = ""
    for line in (raw.strip(b" \r\t") for raw in lines[1:]):
        if line.startswith(b"#EXTINF:"):
            info = line.decode().removeprefix("#EXTINF:")
        elif line and not line.startswith(b"#"):
            if line.startswith(b"file://"):
                place = unquote_to_bytes(line.removeprefix(b"file://"))
            else:
                place = os.path.normpath(
                    line if line.startswith(b"/") else folder.encode() + b"/" + line
                )
            found.append((info, place))
    return found


# Any bytes that a file's name may hold, and the odd ones often.
NAMES = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.text("ab #\n\r\t:.%é\u2028\ufeff\x85\\-", min_size=1, max_size=8).map(str.encode),
).map(lambda name: os.fsdecode(name.replace(b"/", b"_").replace(b"\0", b"_")))
FOLDER = "/music/my lists"


class TestFile:
    def test_what_it_looks_like(self) -> None:
        tracks = [TRACK, replace(TRACK, path="/music/my lists/b.mp3", artist="", duration=0.0)]
        assert m3u8(tracks) == (
            "#EXTM3U\n#EXTINF:61,Nina - Calm\n/music/a.mp3\n#EXTINF:-1,Calm\n/music/my lists/b.mp3\n"
        )
        assert m3u8(tracks, relative_to=FOLDER).split("\n")[2::2] == ["../a.mp3", "b.mp3"]
        assert m3u8([]) == "#EXTM3U\n"

    @given(st.lists(NAMES, max_size=4), st.booleans())
    def test_whatever_names_are_they_come_back(self, names: list[str], relative: bool) -> None:
        names = [name if name not in {".", ".."} else "dots" for name in names]
        places = [f"{folder}/{name}" for name in names for folder in ("/music", FOLDER)]
        text = m3u8(
            [replace(TRACK, path=place) for place in places],
            relative_to=FOLDER if relative else None,
        )
        assert [place for _, place in read_back(text, FOLDER)] == [os.fsencode(p) for p in places]

    @given(st.text(max_size=20), st.text(max_size=20))
    def test_tags_add_no_line(self, title: str, artist: str) -> None:
        track = replace(TRACK, title=title, artist=artist)
        text = m3u8([track, track])
        assert len(text.splitlines()) == text.count("\n") == 5
        assert [info.split(",")[0] for info, _ in read_back(text, "/")] == ["61", "61"]

    def test_comments_and_addresses_are_not_made_by_names(self) -> None:
        names = ["#1.mp3", "http:x.mp3"]
        tracks = [replace(TRACK, path=f"/music/{name}") for name in names]
        found = m3u8(tracks, relative_to="/music").split("\n")[2::2]
        assert found == ["./#1.mp3", "./http:x.mp3"]


class TestWriting:
    def test_it_is_written_and_not_over_another(self, tmp_path: Path) -> None:
        target = tmp_path / ("n" * 250 + ".m3u8")
        assert write_new(target, b"one") == target
        with pytest.raises(InputError, match="--force"):
            write_new(target, b"two")
        assert target.read_bytes() == b"one"
        write_new(target, b"three", force=True)
        assert target.read_bytes() == b"three"
        assert [entry.name for entry in tmp_path.iterdir()] == [target.name]
        umask = os.umask(0)
        os.umask(umask)
        assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask

    def test_a_folder_that_is_not_there_or_is_the_target(self, tmp_path: Path) -> None:
        for target in (tmp_path / "no" / "a.m3u8", tmp_path):
            with pytest.raises(InputError, match="Nothing has been written"):
                write_new(target, b"x", force=True)
        assert list(tmp_path.iterdir()) == []

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        target, link = tmp_path / "a", tmp_path / "b"
        target.write_bytes(b"old")
        link.symlink_to(target)
        write_new(link, b"new", force=True)
        assert link.is_symlink()
        assert target.read_bytes() == b"new"
