"""Questions to a library of real files."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from audio_factory import write_audio
from clap_musicgen.errors import (
    InputError,
    InputTypeError,
    LibraryQueryError,
    NotAudioError,
    TrackNotFoundError,
)
from clap_musicgen.library import Library, Match
from clap_musicgen.library.calibration import Correction
from clap_musicgen.library.filters import Filters
from clap_musicgen.library.paths import path_key
from clap_musicgen.library.query import Heard, Phrase, compose, embed_sound
from clap_musicgen.library.records import Found
from fake_embedder import FakeEmbedder
from library_music import RATE, everything, write_tone, write_tones

if TYPE_CHECKING:
    from numpy.typing import NDArray

TONES = (110, 220, 440, 880, 1760, 3520)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tagged tones in FLAC, a copy, an untagged one, and one whose third second is high."""
    folder = tmp_path_factory.mktemp("music")
    time = np.arange(2 * RATE) / RATE
    for number, hertz in enumerate(TONES):
        tags = {
            "title": f"Tone {hertz}",
            "artist": "Nina O'Hara" if number % 2 else "Sven",
            "album": "Tones",
            "genre": "Test",
            "date": str(1990 + number),
        }
        waveform = (0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
        write_audio(folder / f"{hertz}.flac", waveform, sample_rate=RATE, tags=tags)
    shutil.copy(folder / "880.flac", folder / "880 copy.flac")
    write_tone(folder / "untagged.wav", 300, seconds=3.2)
    low = np.sin(2 * np.pi * 110 * np.arange(4 * RATE) / RATE)
    low[2 * RATE : 3 * RATE] = 0.7 * np.sin(2 * np.pi * 3520 * np.arange(RATE) / RATE)
    write_audio(folder / "mixed.wav", (0.3 * low).astype(np.float32), sample_rate=RATE)
    return folder


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, music: Path) -> Library:
    library = Library.open(tmp_path_factory.mktemp("library") / "tones", FakeEmbedder())
    assert library.add(music).failed == ()
    return library


def titles(matches: list[Match]) -> list[str]:
    return [match.track.title for match in matches]


def test_tags_are_kept(library: Library, music: Path) -> None:
    track = next(track for track in library.tracks() if track.path == str(music / "220.flac"))
    assert (track.title, track.artist, track.album, track.genre, track.year) == (
        "Tone 220", "Nina O'Hara", "Tones", "Test", 1991
    )  # fmt: skip
    assert track.duration == 2.0
    untagged = next(track for track in library.tracks() if track.title == "untagged")
    assert (untagged.artist, untagged.album, untagged.genre, untagged.year) == ("", "", "", None)


@pytest.fixture(scope="module")
def correction(library: Library) -> Correction:
    """What the library takes out of words and music, worked out from what it holds."""
    means = {held.track.content: held.mean for held in everything(library.path).values()}
    return Correction.fit(np.array(list(means.values()), dtype=np.float32))


def slow_scores(
    library: Library, direction: NDArray[np.float32], correction: Correction
) -> dict[str, float]:
    """Path → score, one track at a time."""
    scores = {}
    for path, held in everything(library.path).items():
        music = correction.music(np.array([held.mean], dtype=np.float32))
        scores[path] = float(np.dot(music[0], direction) - correction.bias(music)[0])
    return scores


@pytest.mark.parametrize("query", ["110", "440", "dark metal", "ünïcode 'quotes' \\; DROP"])
@pytest.mark.parametrize("k", [1, 4, 100])
def test_search_is_the_exact_order_of_corrected_cosines(
    library: Library, correction: Correction, query: str, k: int
) -> None:
    matches = library.search(query, k=k, fold=False)
    question = correction.question(FakeEmbedder().embed_text([query])[0], "text")
    held, slow = everything(library.path), slow_scores(library, question, correction)
    assert len(matches) == min(k, len(slow)) == min(k, 9)
    assert matches == sorted(matches, key=lambda match: (-match.score, match.track.path))
    for match in matches:
        # The library's vectors come back from half precision, the mean of all of them too.
        assert match.score == pytest.approx(slow.pop(match.track.path), abs=2e-3)
        clips = held[match.track.path].clips
        music = correction.music(np.array([vector for _, _, vector in clips], dtype=np.float32))
        best = clips[int(np.argmax(music @ question))]
        assert (match.start, match.end) == best[:2]
    assert all(score <= matches[-1].score + 2e-3 for score in slow.values())


def test_calibrated_scores_fall_with_the_score_and_bound_the_answers(library: Library) -> None:
    matches = library.search("440", k=9, fold=False)
    values = [match.calibrated for match in matches]
    assert all(0 <= value <= 1 for value in values)
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9 > 0.1 > values[-1]
    assert library.search("440", k=9, fold=False, min_score=0.9) == [
        match for match in matches if match.calibrated >= 0.9
    ]
    assert library.search("440", min_score=1.0) == []


def test_copies_are_one_answer_that_names_them(library: Library) -> None:
    folded, plain = library.search("880", k=100), library.search("880", k=100, fold=False)
    assert (len(folded), len(plain)) == (8, 9)
    assert [also.path for match in folded for also in match.also] == [plain[1].track.path]
    assert folded[0].track == plain[0].track
    assert plain[0].score == plain[1].score


def test_one_answer_of_an_artist_or_album(library: Library) -> None:
    answers = library.search("880", k=100, per="artist")
    assert sorted(match.track.artist for match in answers) == ["", "", "Nina O'Hara", "Sven"]
    assert len(library.search("880", k=100, per="album")) == 3  # the two untagged stand alone


def test_the_segment_says_where_to_listen(library: Library) -> None:
    mixed = next(match for match in library.search("3520") if match.track.title == "mixed")
    assert (mixed.start, mixed.end) == (2.0, 3.0)
    mixed = next(match for match in library.search("110") if match.track.title == "mixed")
    assert (mixed.start, mixed.end) == (0.0, 1.0)


def test_like_a_track_a_file_or_samples(library: Library, music: Path, tmp_path: Path) -> None:
    stored = library.search(like=music / "1760.flac", k=1)[0]
    assert stored.track.title == "Tone 1760"
    assert stored.score == pytest.approx(1, abs=1e-5)
    other = write_tone(tmp_path / "other.wav", 1760, seconds=5)
    assert titles(library.search(like=str(other), k=1)) == ["Tone 1760"]
    samples = np.sin(2 * np.pi * 1760 * np.arange(3 * RATE) / RATE)
    assert titles(library.search(like=samples, k=1)) == ["Tone 1760"]


def test_words_and_sounds_together_and_without(
    library: Library, music: Path, correction: Correction
) -> None:
    model = FakeEmbedder()

    def words(text: str) -> NDArray[np.float32]:
        return correction.question(model.embed_text([text])[0], "text")

    def sound(name: str) -> NDArray[np.float32]:
        return correction.question(embed_sound(model, music / name), "sound")

    found = library.search(
        [Phrase("110", 2.0), "1760"],
        like=[music / "3520.flac", music / "mixed.wav"],
        without=["220"],
        unlike=music / "440.flac",
        k=9,
    )
    wanted = [(words("110"), 2.0), (words("1760"), 1.0)]
    wanted += [(sound("3520.flac"), 1.0), (sound("mixed.wav"), 1.0)]
    direction = compose(wanted, [(words("220"), 1.0), (sound("440.flac"), 1.0)])
    slow = slow_scores(library, direction, correction)
    assert len(found) == 8
    for match in found:
        assert match.score == pytest.approx(slow[match.track.path], abs=2e-3)
    assert found[0].track.title == "mixed"
    assert {"Tone 220", "Tone 440"} <= set(titles(found[-3:]))


def test_a_string_is_read_in_the_query_language(library: Library) -> None:
    assert library.search("110 -220") == library.search("110", without="220")
    assert library.search('"110"^2 3520') == library.search([Phrase("110", 2), Phrase("3520")])


def test_segments_are_the_best_moments_of_all_tracks_or_of_one(
    library: Library, music: Path
) -> None:
    moments = library.segments("3520", k=2)
    assert {(one.track.title, one.start) for one in moments} <= {
        ("mixed", 2.0), ("Tone 3520", 0.0), ("Tone 3520", 1.0)
    }  # fmt: skip
    everywhere = library.segments("3520", k=1000)
    assert len(everywhere) == library.info().clips  # copies answer once
    assert everywhere == sorted(everywhere, key=lambda one: (-one.score, one.track.path, one.start))
    inside = library.segments("3520", path=music / "mixed.wav", k=100)
    assert inside[0].start == 2.0
    assert sorted(one.start for one in inside) == [0.0, 1.0, 2.0, 3.0]
    assert [one for one in everywhere if one.track.title == "mixed"] == inside
    only = library.segments("3520", where="title = 'Tone 110'", k=100)
    assert {one.track.title for one in only} == {"Tone 110"}
    sven = Filters(artist="sven")
    assert library.segments("3520", path=music / "mixed.wav", filters=sven) == []
    with pytest.raises(TrackNotFoundError, match=r"no track '.*absent"):
        library.segments("3520", path="/absent")


def test_similar_leaves_out_the_track_and_its_copies(
    library: Library, music: Path, tmp_path: Path
) -> None:
    assert "880" not in "".join(titles(library.similar(music / "880.flac", k=100)))
    assert len(library.similar(music / "880 copy.flac", k=100)) == 7
    few = library.similar(music / "880.flac", k=100, filters=Filters(artist="sven"))
    assert set(titles(few)) == {"Tone 110", "Tone 440", "Tone 1760"}
    assert titles(library.similar(music / "110.flac", k=1)) == ["mixed"]
    elsewhere = shutil.copy(music / "880.flac", tmp_path / "elsewhere.flac")
    assert len(library.similar(elsewhere, k=100)) == 7
    foreign = write_tone(tmp_path / "foreign.wav", 880)
    assert titles(library.similar(foreign, k=2, fold=False)) == ["Tone 880", "Tone 880"]


def test_similar_to_an_indexed_track_needs_no_file(tmp_path: Path) -> None:
    model = FakeEmbedder()
    path = write_tone(tmp_path / "music" / "a.wav", 440)
    write_tone(tmp_path / "music" / "b.wav", 450)
    library = Library.open(tmp_path / "library", model)
    library.add(tmp_path / "music")
    path.unlink()
    assert titles(library.similar(path)) == ["b"]
    assert model.clips == 4


def test_similar_to_nothing_or_to_no_music(library: Library, tmp_path: Path) -> None:
    with pytest.raises(TrackNotFoundError, match=r"absent\.wav' is neither a track"):
        library.similar(tmp_path / "absent.wav")
    (tmp_path / "text.mp3").write_text("no music")
    with pytest.raises(NotAudioError, match=r"text\.mp3"):
        library.search(like=tmp_path / "text.mp3")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("artist = 'Nina O''Hara'", {"Tone 220", "Tone 880", "Tone 3520"}),
        ("year >= 1992 AND year < 1994", {"Tone 440", "Tone 880"}),
        ("year IS NULL", {"untagged", "mixed"}),
        ("album = 'Tones' AND NOT genre = 'Test'", set()),
        ("duration > 3", {"untagged", "mixed"}),
        ("path LIKE '%copy%'", {"Tone 880"}),
        ("lower(title) = 'tone 440' OR title = 'mixed'", {"Tone 440", "mixed"}),
        ("added > timestamp '2020-01-01 00:00:00'", {"untagged", "mixed"}),
    ],
)
def test_filters(library: Library, where: str, expected: set[str]) -> None:
    found = set(titles(library.search("440", k=100, where=where)))
    assert expected <= found if "added" in where else found == expected
    assert titles(library.search("440", k=1, where=where)) in [[one] for one in found] + [[]]


@pytest.mark.parametrize(
    "where",
    [
        "", "artist =", "nobody = 'x'", 'artist = "Sven"', "year = 'old'", "title", "1",
        "1=1; DROP TABLE tracks", "year > 0 LIMIT 1", "year > 0 ORDER BY year", "1=1 --",
        "title = 'x' UNION SELECT 1", "EXISTS (SELECT 1 FROM tracks)", "1 IN (SELECT 1)",
        "regexp_like(title, '(')", "cast(title as int) = 3", "year / 0 = 1", "\0", "\udcff",
    ],
)  # fmt: skip
def test_a_filter_that_cannot_be_used_names_the_columns(library: Library, where: str) -> None:
    with pytest.raises(LibraryQueryError, match="title, artist, album, genre, year") as caught:
        library.search("440", where=where)
    assert repr(where) in str(caught.value)
    assert ".rs" not in str(caught.value)
    assert "raw_path" not in str(caught.value)
    assert len(library) == 9


def test_arguments_are_checked(library: Library) -> None:
    for k in (0, -1):
        with pytest.raises(InputError, match="k must be at least 1"):
            library.search("440", k=k)
        with pytest.raises(InputError, match="k must be at least 1"):
            library.similar("x", k=k)
    with pytest.raises(InputTypeError, match="k must be a whole number"):
        library.search("440", k=2.5)  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="where must be a string"):
        library.search("440", where=3)  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="query must be a string"):
        library.search([440])  # type: ignore[list-item]
    for nothing in ({}, {"without": "440"}, {"unlike": np.ones(9)}):
        with pytest.raises(InputError, match="nothing to search for"):
            library.search(**nothing)
    for bar in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="min_score must be from 0 to 1"):
            library.search("440", min_score=bar)
    with pytest.raises(InputError, match="per must be one of artist, album"):
        library.search("440", per="year")  # type: ignore[arg-type]


def test_threads_may_search_while_one_adds(tmp_path: Path) -> None:
    write_tones(tmp_path / "music", 20, seconds=0.3)
    library = Library.open(tmp_path / "library", FakeEmbedder())
    with ThreadPoolExecutor(3) as threads:
        adding = threads.submit(library.add, tmp_path / "music")
        counts = []
        while not adding.done():
            found = list(
                threads.map(lambda _: len(library.search("440", k=99, fold=False)), range(2))
            )
            counts += sorted(found)
    assert set(counts) <= {0, 16, 20}
    assert len(library.search("440", k=99, fold=False)) == 20


def test_an_open_library_sees_what_another_one_writes(tmp_path: Path) -> None:
    reader = Library.open(tmp_path / "library", FakeEmbedder())
    writer = Library.open(tmp_path / "library", FakeEmbedder())
    assert reader.search("440") == []
    path = write_tone(tmp_path / "music" / "a.wav", 440)
    writer.add(path)
    assert titles(reader.search("440")) == ["a"]
    writer.remove(path)
    assert reader.search("440") == []


def test_what_was_embedded_before_asks_as_its_file_does(library: Library, music: Path) -> None:
    path = str(music / "440.flac")
    heard = Heard(library.vectors([path])[0], "the upload")
    assert library.search(like=heard) == library.search(like=path)
    assert library.search("110", unlike=[heard]) == library.search("110", unlike=path)
    found = [match.track.title for match in library.similar(heard, k=1)]
    assert found == ["Tone 440"]  # it is no track, so that none is left out
    with pytest.raises(InputError, match="the upload must be 12 finite numbers"):
        library.search(like=Heard(np.ones(3, dtype=np.float32), "the upload"))


def test_scores_of_all_tracks(library: Library) -> None:
    scores = library.scores("440", without="110")
    assert scores.shape == (len(library),)
    by_path = {track.path: score for track, score in zip(library.tracks(), scores, strict=True)}
    for match in library.search("440", without="110", k=100, fold=False):
        assert by_path[match.track.path] == pytest.approx(match.score, abs=1e-6)


def test_vectors_are_those_of_the_library_or_embedded(
    library: Library, music: Path, tmp_path: Path
) -> None:
    other = write_tone(tmp_path / "other.wav", 500)
    track = music / "440.flac"
    found = library.vectors([other, track, Heard(np.eye(12, dtype=np.float32)[0])])
    np.testing.assert_array_equal(found[0], embed_sound(FakeEmbedder(), other))
    mean = np.array(everything(Path(library.path))[str(track)].mean)
    np.testing.assert_array_equal(found[1], mean.astype(np.float32))
    np.testing.assert_array_equal(found[2], np.eye(12)[0])
    assert library.vectors([]).shape == (0, 12)
    with pytest.raises(TrackNotFoundError):
        library.vectors([tmp_path / "none.wav"])


def test_find_by_words(library: Library) -> None:
    assert library.find().total == len(library)
    found = library.find("nina TÓNE 22")
    assert [track.title for track in found.tracks] == ["Tone 220"]
    page = library.find("tone", offset=1, limit=2)
    assert page.total == len(TONES) + 1  # and the copy
    assert list(page.tracks) == [t for t in library.tracks() if "Tone" in t.title][1:3]
    assert library.find("tone", offset=100) == Found(page.total, ())


def test_a_track_by_its_key(library: Library) -> None:
    for track in library.tracks():
        assert library.track(path_key(track.path)) == track
    with pytest.raises(TrackNotFoundError, match="'0000'"):
        library.track("0000")


def test_tags_of_one_track(library: Library, music: Path) -> None:
    labels = {"pitch": ["110", "440", "3520"], "mood": ["calm"]}
    path = music / "440.flac"
    own = [tag for tag in library.tags(labels, min_score=0.5) if tag.track.path == str(path)]
    found = library.tags(labels, path=path, min_score=0.5)
    assert [(tag.facet, tag.label) for tag in found] == [(tag.facet, tag.label) for tag in own]
    assert ("pitch", "440") in [(tag.facet, tag.label) for tag in found]
    with pytest.raises(TrackNotFoundError):
        library.tags(labels, path=music / "none.flac")
