"""`search` and `similar` on real files and a tiny checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from audio_factory import melody, write_audio
from clap_musicgen.cli import run
from clap_musicgen.library import Library
from clap_musicgen.model.clap import ClapMusicGen
from conftest import lively

RATE = 8_000
TRACKS = (
    # file, artist, album, genre, year, seconds: too different to be near-duplicates
    ("jazz/one.flac", "Nina Simone", "First", "Jazz", 1965, 2.0),
    ("jazz/two.flac", "NINA SIMONE", "Second", "Jazz", 1972, 6.0),
    ("jazz/three.flac", "Beyoncé", "First", "R&B", 2003, 10.0),
    ("pop/four.flac", "", "", "", None, 14.0),
    ("pop/five.flac", "", "", "Pop", None, 18.0),
)


class Said(NamedTuple):
    code: int
    out: str
    err: str

    def names(self) -> list[str]:
        """File names of an answer in JSON."""
        assert self.code == 0, self.err
        return [Path(answer["path"]).name for answer in json.loads(self.out)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with music, a model and a library of both."""
    place = tmp_path_factory.mktemp("searching")
    for seed, (name, artist, album, genre, year, seconds) in enumerate(TRACKS):
        (place / name).parent.mkdir(exist_ok=True)
        tags = {"title": Path(name).stem, "artist": artist, "album": album, "genre": genre}
        wave = melody(seconds, sample_rate=RATE, seed=seed)
        dated = {"date": str(year)} if year else {}
        given = {key: value for key, value in (tags | dated).items() if value}
        write_audio(place / name, wave, sample_rate=RATE, tags=given)
    shutil.copy(place / "jazz" / "one.flac", place / "pop" / "one again.flac")
    lively().save_pretrained(place / "tiny")
    with Library.open(place / "library", ClapMusicGen.from_pretrained(place / "tiny")) as library:
        assert library.add([place / "jazz", place / "pop"]).failed == ()
    return place


@pytest.fixture
def call(place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CLAP_MUSICGEN_LIBRARY", str(place / "library"))

    def call(*arguments: str | Path, model: str | Path = place / "tiny") -> Said:
        capfd.readouterr()
        code = run([*map(str, arguments), "--model", str(model)])
        return Said(code, *capfd.readouterr())

    return call


def assert_refused(said: Said, *words: str) -> None:
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: ")
    assert len(said.err.splitlines()) == 1
    for word in words:
        assert word in said.err


EVERY = {"one.flac", "two.flac", "three.flac", "four.flac", "five.flac"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], EVERY),
        (["--artist", "nina simone"], {"one.flac", "two.flac"}),
        (["--artist", "nina*", "--artist", "beyonce"], {"one.flac", "two.flac", "three.flac"}),
        (["--album", "FIRST", "--genre", "jazz"], {"one.flac"}),
        (["--year", "1960s"], {"one.flac"}),
        (["--year", "-1972"], {"one.flac", "two.flac"}),
        (["--length", "0:05-15s"], {"two.flac", "three.flac", "four.flac"}),
        (["--under", "JAZZ"], {"one.flac", "two.flac", "three.flac"}),
        (["--added-since", "1d"], EVERY),
        (["--added-since", "2999-01-01"], set()),
        (["--where", "year IS NULL"], {"four.flac", "five.flac"}),
        (["--where", "year > 1970 OR year < 1", "--genre", "r&b"], {"three.flac"}),
        (["--artist", "'; DROP TABLE tracks; --"], set()),
    ],
)
def test_filters(call: Any, place: Path, options: list[str], expected: set[str]) -> None:
    options = [str(place / "jazz") if option == "JAZZ" else option for option in options]
    said = call("search", "dark metal", "--json", *options)
    assert set(said.names()) - {"one again.flac"} | ({"one.flac"} & expected) == expected
    assert ("no matches" in said.err) == (not expected)
    likewise = call("similar", place / "pop" / "five.flac", "--json", *options)
    assert set(likewise.names()) - {"one again.flac"} | ({"one.flac"} & expected) == (
        expected - {"five.flac"}
    )


def test_near_duplicates_are_folded_and_said_to_be_there(call: Any) -> None:
    folded = call("search", "dark metal", "--json")
    assert len(folded.names()) == 5
    also = [path for answer in json.loads(folded.out) for path in answer["also"]]
    assert len(also) == 1
    assert Path(also[0]).name in {"one.flac", "one again.flac"}
    assert "(+1 alike)" in call("search", "dark metal").out
    assert len(call("search", "dark metal", "--json", "--no-fold").names()) == 6
    assert "alike" not in call("search", "dark metal", "--no-fold").out


def test_one_answer_each(call: Any) -> None:
    artists = call("search", "dark metal", "--json", "--per", "artist").names()
    assert len(artists) == 4
    assert len({"one.flac", "one again.flac", "two.flac"} & set(artists)) == 1
    albums = call("search", "dark metal", "--json", "--per", "album").names()
    assert len(albums) == 4  # First of Nina and of Beyoncé lie in one folder
    assert_refused(call("search", "dark metal", "--per", "genre"), "--per")


def test_json_tells_both_scores_and_the_table_the_calibrated_one(call: Any) -> None:
    answers = json.loads(call("search", "dark metal", "--json").out)
    assert list(answers[0]) == [
        "path", "title", "artist", "album", "genre", "year", "duration",
        "score", "start", "end", "problem", "calibrated", "also",
    ]  # fmt: skip
    assert all(0 <= answer["calibrated"] <= 1 for answer in answers)
    assert [answer["score"] for answer in answers] == sorted(
        (answer["score"] for answer in answers), reverse=True
    )
    lines = call("search", "dark metal").out.splitlines()
    assert lines[0].split() == ["title", "artist", "score", "segment", "path"]
    assert len(lines) == 6
    assert f" {answers[0]['calibrated']:.2f} " in lines[1]


def test_nothing_fits(call: Any) -> None:
    best = json.loads(call("search", "dark metal", "--json").out)[0]["calibrated"]
    assert best < 1
    said = call("search", "dark metal", "--min-score", "1")
    assert (said.code, said.out) == (0, "")
    assert said.err == (
        f"nothing fits: the best of 6 tracks scores {best:.2f}; lower --min-score\n"
    )
    said = call("search", "dark metal", "--min-score", "1", "--year", "1960-", "--json")
    assert json.loads(said.out) == []
    assert "nothing fits: the best of the tracks that pass the filters scores" in said.err
    kept = call("search", "dark metal", "--min-score", str(best - 0.0001), "--json").names()
    assert len(kept) >= 1
    assert_refused(call("search", "dark metal", "--min-score", "2"), "--min-score")


def test_the_query_language_and_the_options_say_the_same(call: Any, place: Path) -> None:
    def scores(*arguments: str | Path) -> dict[str, float]:
        said = call("search", *arguments, "--json", "--no-fold")
        return {answer["path"]: answer["score"] for answer in json.loads(said.out)}

    plain = scores("dark metal")
    without = scores("dark metal", "--without", "drum solo", "--without", "vocals")
    assert without == scores('dark metal -"drum solo" -vocals')
    assert without == scores("dark metal without a drum solo or vocals")
    assert without != plain == scores('"dark metal"^7')
    sounds = [place / "jazz" / "two.flac", place / "pop" / "four.flac"]
    like = scores("--like", sounds[0], "--like", sounds[1])
    assert like == scores("--like", sounds[1], "--like", sounds[0])
    assert like != scores("--like", sounds[0]) != scores("dark metal", "--like", sounds[0])
    unlike = scores("--like", sounds[0], "--unlike", sounds[1])
    assert unlike[str(sounds[1])] < scores("--like", sounds[0])[str(sounds[1])]


def test_moments(call: Any, place: Path) -> None:
    said = call("search", "dark metal", "--segments", "-k", "4", "--json")
    assert len(said.names()) == 4
    assert "calibrated" not in json.loads(said.out)[0]
    within = call("search", "dark metal", "--in", place / "jazz" / "two.flac", "-k", "99", "--json")
    moments = json.loads(within.out)
    assert set(within.names()) == {"two.flac"}
    assert sorted(moment["start"] for moment in moments) == [0.5 * n for n in range(12)]
    assert [moment["score"] for moment in moments] == sorted(
        (moment["score"] for moment in moments), reverse=True
    )
    table = call("search", "dark metal", "--in", place / "jazz" / "two.flac").out
    assert table.splitlines()[0].split() == ["title", "artist", "cosine", "segment", "path"]
    filtered = call("search", "dark metal", "--segments", "--genre", "pop", "--json")
    assert set(filtered.names()) == {"five.flac"}
    nothing = call("search", "dark metal", "--segments", "--genre", "none")
    assert (nothing.code, nothing.out) == (0, "")
    assert "no matches" in nothing.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search"], ["nothing to search for", "--like FILE"]),
        (["search", " "], ["query is empty"]),
        (["search", "jazz", "--without", ""], ["text of --without is empty"]),
        (["search", '"church organ'], ["does not close it"]),
        (["search", "jazz^0"], ["weight 0.0 of 'jazz'"]),
        (["search", "without vocals"], ["nothing to search for, only what is not wanted"]),
        (["search", "jazz", "--year", "sixties"], ["year 'sixties'", "1960-1969"]),
        (["search", "jazz", "--length", "5:00-2:00"], ["length ends before it begins"]),
        (["search", "jazz", "--added-since", "soon"], ["time 'soon'", "7d"]),
        (["search", "jazz", "--like", "/no/such.mp3"], ["'/no/such.mp3' is neither", "library"]),
        (["search", "jazz", "--unlike", "/no/such.mp3"], ["'/no/such.mp3' is neither"]),
        (["search", "jazz", "--like", "/"], ["'/' is a folder"]),
        (["search", "jazz", "--in", "/no/such.mp3"], ["'/no/such.mp3' is not a track"]),
        (["search", "jazz", "--segments", "--per", "artist"], ["leave out --per"]),
        (["search", "jazz", "--in", "x", "--min-score", "0.5"], ["--min-score"]),
        (["similar", "/no/such.mp3"], ["'/no/such.mp3' is neither"]),
        (["similar", "/"], ["'/' is a folder"]),
    ],
)
def test_mistakes_are_found_before_the_model_is_loaded(
    call: Any, arguments: list[str], words: list[str]
) -> None:
    assert_refused(call(*arguments, model="/no/model"), *words)


def test_other_mistakes(call: Any, place: Path, tmp_path: Path) -> None:
    assert_refused(call("search", "jazz", "--where", "nonsense ="), "'nonsense ='", "artist")
    (tmp_path / "text.mp3").write_text("no music")
    assert_refused(call("search", "jazz", "--like", tmp_path / "text.mp3"), "text.mp3")
    assert_refused(call("search", "jazz", "--in", tmp_path / "text.mp3"), "not a track")
    elsewhere = ("search", "jazz", "--library", tmp_path / "none", "--like", "/no/such.mp3")
    assert_refused(call(*elsewhere), "no library in")


def test_a_track_whose_file_is_gone_still_answers(call: Any, place: Path, tmp_path: Path) -> None:
    moved = shutil.move(place / "jazz" / "three.flac", tmp_path / "three.flac")
    try:
        assert call("similar", place / "jazz" / "three.flac", "--json", "-k", "1").names()
        assert call("search", "--like", place / "jazz" / "three.flac", "--json").names()
    finally:
        shutil.move(moved, place / "jazz" / "three.flac")


def test_help_stays_readable(call: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["search", "--help"]) == 0
    text = capfd.readouterr().out
    panels = ["What it sounds like", "Which tracks", "Which answers"]
    places = [text.index(panel) for panel in panels]
    assert places == sorted(places)
    assert text.count("\n") < 75
