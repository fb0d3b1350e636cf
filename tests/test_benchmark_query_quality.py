"""benchmarks/query_quality.py runs whole on toys, and its arithmetic agrees with slow twins."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import query_answers
import query_correction
import query_data
import query_negation
import query_quality
import query_ways
from audio_factory import melody, write_audio
from clap_musicgen.embedding import Embeddings, unit
from conftest import build_tiny


def vectors(count: int, *, seed: int, dim: int = 16, axis: int = 0) -> Embeddings:
    found = np.random.default_rng(seed).normal(size=(count, dim))
    found[:, axis] += 2.0
    return unit(found)


@pytest.fixture(scope="module")
def labelled() -> query_data.Labelled:
    """60 tracks; those with a piano lie near the text "music with piano", and so on."""
    names = [("instrument", "piano"), ("instrument", "vocals"), ("genre", "jazz")]
    tracks, music = [], vectors(60, seed=1)
    for row in range(60):
        own = frozenset(name for place, name in enumerate(names) if row % (place + 2) == 0)
        tracks.append(query_data.Track(f"{row}.wav", f"set {row % 2}", "val", f"piece {row}", own))
        for place, name in enumerate(names):
            music[row, 5 + place] += 1.0 if name in own else 0.0
    return query_data.Labelled(tracks, unit(music))


@pytest.fixture(scope="module")
def words(labelled: query_data.Labelled) -> query_correction.Words:
    texts = {track.caption for track in labelled.tracks} | set(query_answers.NOT_MUSIC)
    for pair in query_negation.pairs(labelled):
        texts |= set(query_quality.said(*pair))
    ordered = sorted(texts)
    of = dict(zip(ordered, vectors(len(ordered), seed=2, axis=1), strict=True))
    for place, label in enumerate(["music with piano", "music with vocals", "jazz music"]):
        of[label] = np.eye(16, dtype=np.float32)[5 + place]
    of["genre:jazz"] = of["jazz music"]
    return query_correction.Words(of, vectors(80, seed=3, axis=1))


def test_the_whole_script_on_a_tiny_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_tiny().save_pretrained(tmp_path / "model")
    lines = []
    for row in range(48):
        path = tmp_path / f"{row}.wav"
        write_audio(path, melody(0.4, sample_rate=8000, seed=row), sample_rate=8000)
        line = {"audio": path.name, "split": "test" if row % 2 else "val", "set": "toys"}
        genre = [["jazz"], ["rock"], ["jazz", "rock"]][row % 3]
        lines.append(line | {"caption": f"piece {row}", "genre": genre, "mood": ["calm"]})
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    given = [manifest, "--model", tmp_path / "model", "--cache", tmp_path / "cache.npz", "--json"]
    given += ["--draws", 2, "--markdown", tmp_path / "query-quality.md"]
    outputs = []
    for _ in range(2):  # the second time from the cache
        assert query_quality.main([str(g) for g in given]) == 0
        outputs.append(json.loads(capsys.readouterr().out))
    assert outputs[0] == outputs[1]
    titles = list(outputs[0])
    assert "Corrections, val: one library of 24 tracks" in titles
    assert any(title.startswith("Without, test") for title in titles)
    rows = outputs[0]["Corrections, val: one library of 24 tracks"]
    assert [row["way"] for row in rows] == list(query_ways.WAYS)
    written = (tmp_path / "query-quality.md").read_text(encoding="utf-8")
    assert all(f"### {title}" in written for title in titles)


def test_labels_are_told_apart_by_meaning(tmp_path: Path) -> None:
    line = {
        "audio": "a.ogg",
        "split": "val",
        "caption": "x",
        "instrument": ["Female vocal", "tabla"],
    }
    (tmp_path / "m.jsonl").write_text(json.dumps(line) + "\n\n", encoding="utf-8")
    track = query_data.read_tracks(tmp_path / "m.jsonl", ["val"])[0]
    assert track.names("instrument") == ("female vocals", "percussion", "tabla", "vocals")
    assert query_data.read_tracks(tmp_path / "m.jsonl", ["test"]) == []


def test_corrections_agree_with_their_formulas() -> None:
    q, x, b = vectors(4, seed=1), vectors(30, seed=2, axis=2), vectors(25, seed=3)
    centred_q, centred_x, centred_b = (unit(v - m.mean(0)) for v, m in ((q, b), (x, x), (b, b)))
    for row, question in enumerate(centred_q):
        for column, track in enumerate(centred_x):
            near = [float(track @ text) for text in centred_b]
            score = float(question @ track)
            nearest = sorted(near)[-query_ways.NEAREST :]
            expected = {
                "both centred": score,
                "CSLS": score - float(np.mean(nearest)) / 2,
                "inverted softmax, 10": score
                - float(np.log(np.sum(np.exp(10 * np.array(near))))) / 10,
                "local scaling": -(2 - 2 * score) / (2 - 2 * float(np.mean(nearest))),
                "standardised by track": (score - float(np.mean(near))) / float(np.std(near)),
            }
            for name, value in expected.items():
                found = query_ways.WAYS[name](q, x, b)[row, column]
                assert found == pytest.approx(value, abs=1e-4), name
    np.testing.assert_allclose(query_ways.WAYS["none"](q, x, b), q @ x.T, atol=1e-6)


def test_a_query_bank_corrects_only_where_a_hub_wins() -> None:
    q, x, b = vectors(6, seed=1), vectors(9, seed=2), vectors(25, seed=3)
    always = query_ways.inverted_softmax(q, x, b, sharpness=20.0)
    plain = query_ways.centred(q, x, b)
    chosen = query_ways.inverted_softmax(q, x, b, sharpness=20.0, dynamic=True)
    hubs = set(query_ways.centred(b, x, b).argmax(axis=1).tolist())
    for row in range(6):
        expected = always if int(plain[row].argmax()) in hubs else plain
        np.testing.assert_array_equal(chosen[row], expected[row])


def test_every_way_finds_what_is_there(
    labelled: query_data.Labelled, words: query_correction.Words
) -> None:
    own = {
        track.caption: vector
        for track, vector in zip(labelled.tracks, labelled.vectors, strict=True)
    }
    told = replace(words, of={**words.of, **own})
    for name, way in query_ways.WAYS.items():
        if "softmax" not in name and name not in {"local scaling", "standardised by track"}:
            assert query_correction.found(labelled, told, way).hit.mean() > 0.8, name
    assert set(query_correction.by_set(labelled)) == {"set 0", "set 1"}


def test_without_keeps_the_unwanted_away(
    labelled: query_data.Labelled, words: query_correction.Words
) -> None:
    chosen = query_negation.pairs(labelled)
    assert (("genre", "jazz"), ("instrument", "vocals")) in chosen
    found = query_negation.measure(
        labelled,
        chosen,
        vectors=words.of,
        texts=query_quality.said,
        tracks=labelled.vectors,
        ways=query_negation.WAYS,
    )
    shares = {name: np.mean([one.unwanted for one in kept]) for name, kept in found.items()}
    steps = [f"A - {weight:g} X" for weight in (0.25, 0.5, 0.75, 1.0)]
    assert shares["A"] > shares[steps[0]] >= shares[steps[1]] >= shares[steps[3]]
    assert all(one.overlap == 1.0 for one in found["A"])
    rows = query_negation.summary(found, chosen, base="A")
    assert [row[0] for row in rows] == list(query_negation.WAYS)


def test_a_ranking_is_judged_as_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    has_a = np.array([True, True, False, True])
    has_x = np.array([True, False, False, False])
    kept = query_negation.judged(scores, scores[::-1].copy(), has_a=has_a, has_x=has_x)
    gains = 1 + 1 / np.log2(4)
    assert kept.unwanted == pytest.approx(1 / 4)
    assert kept.found == pytest.approx(gains / (1 + 1 / np.log2(3)))
    assert kept.goal == pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3)))
    assert kept.overlap == 1.0


def test_a_thing_that_is_there_is_answered_more_often(
    labelled: query_data.Labelled, words: query_correction.Words
) -> None:
    found = list(query_answers.asked(labelled, words, size=20, draws=3))
    assert found
    assert all(not absent.meant.any() and present.meant.sum() >= 3 for absent, present, _ in found)
    calibrated, raw = query_answers.separation(found)
    assert calibrated > 0.7
    assert raw > 0.7
    rows = query_answers.answer_rows(found, [0.0, 0.5])
    assert [cell.split()[0] for cell in rows[0][1:4]] == ["1.00", "1.00", "1.00"]
