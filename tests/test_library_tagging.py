"""Zero-shot tags: reading labels, the bar, few per facet, and a table that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_musicgen.embedding import unit
from clap_musicgen.errors import InputError, InputTypeError
from clap_musicgen.library.calibration import Calibration, Correction
from clap_musicgen.library.records import Track
from clap_musicgen.library.tagging import (
    Labels,
    Tag,
    csv_bytes,
    directions_of,
    given_tags,
    harmless,
    labels_of,
    read_labels,
    tag_scores,
    tags_of,
)
from clap_musicgen.library.vocabulary import VOCABULARY
from fake_embedder import FakeEmbedder

TRACK = Track("/music/a.mp3", "Calm", "Nina", "", "", None, 61.4, "00", "")
LABELS = Labels(("genre", "genre", "mood"), ("jazz", "rock", "calm"))


class TestLabels:
    def test_lists_and_facets(self) -> None:
        assert labels_of(["jazz", " lofi  hip hop "]).names == ("jazz", "lofi hip hop")
        assert labels_of(["jazz"]).facets == ("tag",)
        found = labels_of({"genre": ["jazz", "rock"], "mood": ["calm"]})
        assert found == LABELS
        assert len(labels_of(VOCABULARY).names) == sum(map(len, VOCABULARY.values()))

    @pytest.mark.parametrize("wrong", [[], [" "], ["jazz", "Jazz"], {"genre": []}])
    def test_what_is_no_list_of_labels(self, wrong: list[str]) -> None:
        with pytest.raises(InputError):
            labels_of(wrong)

    def test_one_string_is_no_list(self) -> None:
        with pytest.raises(InputTypeError, match=r"\['jazz'\]"):
            labels_of("jazz")

    def test_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "labels.txt"
        file.write_bytes("\ufeff# mine\ngenre: jazz\r\n\nfor the café\n genre :rock\n".encode())
        assert read_labels(file) == {"genre": ["jazz", "rock"], "tag": ["for the café"]}

    @pytest.mark.parametrize(
        ("content", "words"),
        [(b"\xff\xfe", "UTF-8"), (b"# nothing\n", "no label"), (b"jazz\ngenre:\n", "line 2")],
    )
    def test_a_file_that_cannot_be_used(self, tmp_path: Path, content: bytes, words: str) -> None:
        file = tmp_path / "labels.txt"
        file.write_bytes(content)
        with pytest.raises(InputError, match=words):
            read_labels(file)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="No such file"):
            read_labels(tmp_path / "no.txt")


class TestScores:
    def test_each_label_is_a_question_calibrated_for_itself(self) -> None:
        rng = np.random.default_rng(0)
        music, texts = unit(rng.normal(size=(40, 12)) + 1), unit(rng.normal(size=(30, 12)) + 1)
        correction = Correction.fit(music)
        calibration = Calibration.fit(texts, music, correction)
        directions = directions_of(FakeEmbedder(), LABELS, correction)
        found = tag_scores(music, directions, correction=correction, calibration=calibration)
        corrected = correction.music(music)
        bias = correction.bias(corrected)
        for place, direction in enumerate(directions):
            raw = np.array([vector @ direction for vector in corrected]) - bias
            expected = calibration.calibrated(raw.astype(np.float32), direction=direction)
            # Where a score is a rank, the last bit of two equal sums may turn two ranks round.
            assert found[:, place] == pytest.approx(expected, abs=0.06)
        assert found.shape == (40, 3)
        assert found.min() >= 0
        assert found.max() <= 1

    def test_each_label_scores_highest_on_its_own_music(self) -> None:
        model = FakeEmbedder()
        pitches = ["110", "440", "1760"]
        music = model.embed_text([pitch for pitch in pitches for _ in range(20)])
        texts = model.embed_text([f"caption {n}" for n in range(40)])
        correction = Correction()
        calibration = Calibration.fit(texts, music, correction)
        directions = directions_of(model, labels_of(pitches), correction, prompts=("{}",))
        scores = tag_scores(music, directions, correction=correction, calibration=calibration)
        means = scores.reshape(3, 20, 3).mean(axis=1)  # of each pitch's music, for each label
        assert means.argmax(axis=0).tolist() == [0, 1, 2]
        assert (means.max(axis=0) > np.sort(means, axis=0)[1] + 0.1).all()


class TestBar:
    @given(st.integers(0, 10_000), st.floats(0, 1), st.integers(1, 4))
    def test_the_best_few_of_each_facet_that_pass(
        self, seed: int, bar: float, per_facet: int
    ) -> None:
        rng = np.random.default_rng(seed)
        scores = rng.integers(0, 6, (5, 7)) / 5
        facets = rng.choice(["a", "b", "c"], 7).tolist()
        found = given_tags(scores, facets, min_score=bar, per_facet=per_facet)
        for row in range(5):
            expected: set[int] = set()
            for facet in set(facets):
                own = [place for place in range(7) if facets[place] == facet]
                own.sort(key=lambda place: (-scores[row, place], place))
                expected |= {place for place in own[:per_facet] if scores[row, place] >= bar}
            assert set(np.flatnonzero(found[row])) == expected

    def test_nothing_fits(self) -> None:
        assert not given_tags(np.full((2, 3), 0.5), LABELS.facets, min_score=0.9).any()

    def test_what_is_no_bar(self) -> None:
        for bar in (-0.1, 1.1, float("nan")):
            with pytest.raises(InputError, match="min_score"):
                given_tags(np.zeros((1, 3)), LABELS.facets, min_score=bar)
        with pytest.raises(InputError, match="at least 1 label"):
            given_tags(np.zeros((1, 3)), LABELS.facets, per_facet=0)

    def test_copies_have_the_same_tags(self) -> None:
        tracks = [replace(TRACK, path=f"/{n}.mp3") for n in range(3)]
        scores = np.array([[0.9, 0.95, 0.99], [0.0, 0.1, 0.2]])
        found = tags_of(tracks, np.array([0, 1, 0]), scores, LABELS, min_score=0.9)
        named = [(tag.track.path, tag.facet, tag.label, tag.score) for tag in found]
        assert named == [
            (path, *rest)
            for path in ("/0.mp3", "/2.mp3")
            for rest in (("genre", "rock", 0.95), ("genre", "jazz", 0.9), ("mood", "calm", 0.99))
        ]


class TestTable:
    def test_a_row_for_each_track_and_a_column_for_each_facet(self) -> None:
        tracks = [TRACK, replace(TRACK, path="/b.mp3", title='=cmd("x")', artist="")]
        tags = [
            Tag(TRACK, "genre", "jazz", 0.987),
            Tag(TRACK, "genre", "rock", 0.9),
            Tag(TRACK, "mood", "calm", 1.0),
        ]
        found = csv_bytes(tracks, tags, LABELS.facets)
        assert found.startswith(b"\xef\xbb\xbf")
        assert list(csv.reader(io.StringIO(found.decode("utf-8-sig"), newline=""))) == [
            ["path", "title", "artist", "genre", "mood"],
            ["/music/a.mp3", "Calm", "Nina", "jazz 0.99; rock 0.90", "calm 1.00"],
            ["/b.mp3", '\'=cmd("x")', "", "", ""],
        ]

    @given(st.text(max_size=12), st.text("=+-@ \t\r\n\"',;x\u200b＝", max_size=6))
    def test_no_cell_is_a_formula_and_all_come_back(self, title: str, name: str) -> None:
        track = replace(TRACK, path=name, title=title, artist=name)
        found = csv_bytes([track], [], [])
        rows = list(csv.reader(io.StringIO(found.decode("utf-8-sig"), newline="")))
        assert len(rows) == 2
        for cell, text in zip(rows[1], [name, title, name], strict=True):
            assert cell in {text, f"'{text}"}
            assert not cell.lstrip(" \t\r\n\u200b").startswith(("=", "+", "-", "@", "＝"))

    def test_harmless(self) -> None:
        assert harmless("-1") == "'-1"
        assert harmless(" =1") == "' =1"
        assert harmless("\u200b=1") == "'\u200b=1"
        assert harmless("AC-DC = 1") == "AC-DC = 1"
        assert harmless("") == ""

    def test_a_name_that_is_not_utf8(self) -> None:
        found = csv_bytes([replace(TRACK, path="/caf\udce9.mp3")], [], [])
        assert b"/caf\\xe9.mp3" in found
