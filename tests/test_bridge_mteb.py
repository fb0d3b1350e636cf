"""MTEB's own evaluation, on synthetic tasks without network, against this package's metrics."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mteb
import numpy as np
import pytest
from datasets import Audio, Dataset, DatasetDict, Features, List, Value
from mteb.abstasks import AbsTaskRetrieval, AbsTaskZeroShotClassification
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.cache import ResultCache
from mteb.models import EncoderProtocol
from torch.utils.data import DataLoader

from audio_factory import melody, write_audio
from clap_musicgen.bridges.mteb import MtebEncoder, describe
from clap_musicgen.embedding import unit
from clap_musicgen.errors import InputError, NotAudioError
from clap_musicgen.evaluation.metrics import (
    average_precision,
    hit_at,
    ndcg_at,
    recall_at,
    reciprocal_rank,
)
from clap_musicgen.evaluation.retrieval import cosines
from clap_musicgen.model.tracks import embed_tracks
from fake_embedder import FakeEmbedder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embeddings, Waveform
    from clap_musicgen.model.clap import ClapMusicGen

RATE = 8_000
DIM = 24  # bands narrow enough that no two pitches tie
PITCHES = [150, 190, 240, 300, 380, 480, 610, 770, 970, 1220, 1540, 1940]
LABELS = ["160", "300", "600", "1200"]
SAMPLES = Features({"array": List(Value("float32")), "sampling_rate": Value("int64")})


def tones(*, sample_rate: int = RATE) -> list[Waveform]:
    """A dozen noisy tones of 0.4 to 2.6 s: shorter and longer than a clip of the fake embedder."""
    rng = np.random.default_rng(7)
    sounds = []
    for number, pitch in enumerate(PITCHES):
        time = np.arange(round(sample_rate * (0.4 + 0.2 * number))) / sample_rate
        tone = 0.2 * np.sin(2 * np.pi * pitch * time) + 0.05 * rng.normal(size=len(time))
        sounds.append(tone.astype(np.float32))
    return sounds


def column(sounds: list[Waveform], *, rate: int = RATE) -> list[dict[str, Any]]:
    return [{"array": sound, "sampling_rate": rate} for sound in sounds]


def ids(kind: str, count: int) -> list[str]:
    return [f"{kind}{number}" for number in range(count)]


def metadata(name: str, *, kind: str, category: str, main_score: str) -> TaskMetadata:
    return TaskMetadata(
        name=name,
        description="Synthetic tones.",
        dataset={"path": "none", "revision": "none"},
        type=kind,
        category=category,
        modalities=["audio", "text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=main_score,
    )


class _Retrieval(AbsTaskRetrieval):  # type: ignore[misc]
    """Every tone has two relevant texts, and every text one or two relevant tones."""

    by_text: bool

    def load_data(self, **_: Any) -> None:
        sounds = {"id": ids("s", len(PITCHES)), "audio": column(tones())}
        features = Features({"id": Value("string"), "audio": SAMPLES})
        music = Dataset.from_dict(sounds, features=features)
        words = Dataset.from_dict({"id": ids("w", len(PITCHES)), "text": list(map(str, PITCHES))})
        queries, corpus = (words, music) if self.by_text else (music, words)
        first, other = queries["id"], corpus["id"]
        wanted = relevance()
        self.dataset = {
            "default": {
                "test": {
                    "queries": queries,
                    "corpus": corpus,
                    "relevant_docs": {
                        q: {c: 1 for j, c in enumerate(other) if wanted[i, j]}
                        for i, q in enumerate(first)
                    },
                    "top_ranked": None,
                }
            }
        }
        self.data_loaded = True


class TonesByText(_Retrieval):
    by_text = True
    metadata = metadata(
        "TonesByText", kind="Any2AnyRetrieval", category="t2a", main_score="ndcg_at_10"
    )


class TextsByTone(_Retrieval):
    by_text = False
    metadata = metadata(
        "TextsByTone", kind="Any2AnyRetrieval", category="a2t", main_score="ndcg_at_10"
    )


class ZeroShotTones(AbsTaskZeroShotClassification):  # type: ignore[misc]
    """Which of four pitches is nearest; the audio is encoded files, as in real data sets."""

    metadata = metadata(
        "ZeroShotTones",
        kind="AudioZeroshotClassification",
        category="a2t",
        main_score="accuracy",
    )
    input_column_name = "audio"
    label_column_name = "target"
    folder: Path

    def load_data(self, **_: Any) -> None:
        files = [
            write_audio(self.folder / f"{number}.flac", sound, sample_rate=44_100)
            for number, sound in enumerate(tones(sample_rate=44_100))
        ]
        content = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
        data = Dataset.from_dict({"audio": content, "target": nearest()})
        self.dataset = DatasetDict({"test": data.cast_column("audio", Audio())})
        self.data_loaded = True

    def get_candidate_labels(self) -> list[str]:
        return LABELS


def relevance() -> NDArray[np.float64]:
    """(12, 12): a pitch wants itself and the next lower one; symmetric but for the ends."""
    wanted = np.eye(len(PITCHES))
    wanted[np.arange(1, len(PITCHES)), np.arange(len(PITCHES) - 1)] = 1
    return wanted


def nearest() -> list[int]:
    distance = np.abs(np.log(np.array(PITCHES)[:, None] / np.array(LABELS, float)[None]))
    return [int(best) for best in distance.argmin(axis=1)]


def scores_of(encoder: Any, task: Any, *, cache: Any = None, batch_size: int = 5) -> dict[str, Any]:
    result = mteb.evaluate(
        encoder,
        task,
        cache=cache,
        co2_tracker=False,
        show_progress_bar=False,
        encode_kwargs={"batch_size": batch_size, "show_progress_bar": False},
    )
    scores: dict[str, Any] = result.task_results[0].scores["test"][0]
    return scores


def batches(rows: list[dict[str, Any]], *, size: int = 2) -> Any:
    def collate(group: list[dict[str, Any]]) -> dict[str, list[Any]]:
        return {key: [row[key] for row in group] for key in group[0]}

    return DataLoader(rows, batch_size=size, collate_fn=collate)  # type: ignore[arg-type]


def encode(encoder: MtebEncoder, rows: list[dict[str, Any]], *, size: int = 2) -> Embeddings:
    return encoder.encode(
        batches(rows, size=size), task_metadata=TonesByText.metadata, show_progress_bar=False
    )


@pytest.mark.parametrize("task", [TonesByText, TextsByTone])
def test_retrieval_scores_are_those_of_our_own_metrics(task: type[_Retrieval]) -> None:
    embedder = FakeEmbedder(dim=DIM)
    found = scores_of(MtebEncoder(embedder, name="tests/fake"), task())
    words = embedder.embed_text(list(map(str, PITCHES)))
    music = embed_tracks(embedder, tones())
    similar = cosines(words, music) if task.by_text else cosines(music, words)
    wanted = relevance()
    ours = {
        "ndcg_at_10": ndcg_at(similar, wanted, k=10),
        "ndcg_at_3": ndcg_at(similar, wanted, k=3),
        "recall_at_1": recall_at(similar, wanted, k=1),
        "recall_at_5": recall_at(similar, wanted, k=5),
        "hit_rate_at_1": hit_at(similar, wanted, k=1),
        "map_at_20": average_precision(similar, wanted),
        "mrr_at_20": reciprocal_rank(similar, wanted),
    }
    for name, values in ours.items():
        assert found[name] == pytest.approx(values.mean(), abs=1e-5), name
    assert 0.3 < found["recall_at_5"] < 1  # neither chance nor perfect, so that an error shows
    assert found["main_score"] == found["ndcg_at_10"]


def test_zero_shot_scores_are_those_of_our_own_vectors(tmp_path: Path) -> None:
    embedder, task = FakeEmbedder(), ZeroShotTones()
    task.folder = tmp_path
    found = scores_of(MtebEncoder(embedder, name="tests/fake"), task)
    music = embed_tracks(embedder, [tmp_path / f"{n}.flac" for n in range(len(PITCHES))])
    guessed = cosines(music, embedder.embed_text(LABELS)).argmax(axis=1)
    accuracy = float(np.mean(guessed == np.array(nearest())))
    assert found["accuracy"] == pytest.approx(accuracy, abs=1e-5)
    assert 0.3 < accuracy < 1


def test_a_real_model_gives_its_own_vectors_whatever_the_batches(tiny: ClapMusicGen) -> None:
    encoder = MtebEncoder(tiny, name="tests/tiny")
    sounds = tones()[:5]
    rows = [{"audio": sound} for sound in column(sounds)]
    for size in (1, 3):
        found = encode(encoder, rows, size=size)
        np.testing.assert_allclose(found, tiny.embed_audio(sounds), atol=1e-6)
    found = encode(encoder, [{"text": text} for text in LABELS])
    np.testing.assert_allclose(found, tiny.embed_text(LABELS), atol=1e-6)


def test_results_are_cached_by_the_fingerprint(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    first, other = FakeEmbedder("weights-1"), FakeEmbedder("weights-2")
    scores_of(MtebEncoder(first, name="tests/fake"), TonesByText(), cache=cache)
    before = first.clips
    scores_of(MtebEncoder(first, name="tests/fake"), TonesByText(), cache=cache)
    assert first.clips == before > 0
    scores_of(MtebEncoder(other, name="tests/fake"), TonesByText(), cache=cache)
    assert other.clips == before


def test_each_form_of_audio_gives_the_vector_of_its_file(tmp_path: Path) -> None:
    embedder = FakeEmbedder()
    file = write_audio(tmp_path / "a.wav", melody(2.5, sample_rate=RATE), sample_rate=RATE)
    heard = melody(2.5, sample_rate=RATE)
    forms: list[Any] = [
        {"array": heard, "sampling_rate": RATE},
        {"array": np.stack([heard, heard]), "sampling_rate": RATE},
        {"bytes": file.read_bytes(), "path": "music/a.wav"},
        {"bytes": file.read_bytes(), "path": None},
        {"bytes": None, "path": str(file)},
        str(file),
        heard,
    ]
    found = encode(MtebEncoder(embedder, name="tests/fake"), [{"audio": form} for form in forms])
    wanted = embed_tracks(embedder, [file])
    np.testing.assert_allclose(found, np.repeat(wanted, len(forms), axis=0), atol=1e-3)


def test_text_and_audio_together_give_the_direction_of_their_sum() -> None:
    embedder = FakeEmbedder()
    rows = [{"text": "440", "audio": sound} for sound in tones()[:3]]
    found = encode(MtebEncoder(embedder, name="tests/fake"), rows)
    parts = embedder.embed_text(["440"]), embed_tracks(embedder, tones()[:3])
    np.testing.assert_allclose(found, unit(parts[0] + parts[1]), atol=1e-6)


def test_nothing_gives_nothing() -> None:
    assert encode(MtebEncoder(FakeEmbedder(), name="tests/fake"), []).shape == (0, 12)


def test_other_columns_are_refused() -> None:
    with pytest.raises(InputError, match=r"TonesByText.*image"):
        encode(MtebEncoder(FakeEmbedder(), name="tests/fake"), [{"image": 1}])


def test_a_broken_sound_is_told_by_its_name() -> None:
    rows = [{"audio": {"bytes": b"nothing", "path": "https://example.org/x/song.mp3"}}]
    with pytest.raises(NotAudioError, match=r"song\.mp3"):
        encode(MtebEncoder(FakeEmbedder(), name="tests/fake"), rows)


def test_the_description_says_only_what_is_known(tiny: ClapMusicGen) -> None:
    meta = describe(tiny, name="tests/tiny")
    assert meta.revision == tiny.fingerprint
    assert meta.embed_dim == tiny.dim
    assert meta.n_parameters == sum(p.numel() for p in tiny.parameters())
    assert meta.memory_usage_mb == pytest.approx(meta.n_parameters * 4 / 2**20)
    assert set(meta.modalities) == {"audio", "text"}
    assert meta.license is meta.training_datasets is meta.open_weights is None
    assert describe(FakeEmbedder(), name="tests/fake").n_parameters is None
    assert isinstance(MtebEncoder(tiny, name="tests/tiny"), EncoderProtocol)


def test_a_description_of_ones_own_is_kept() -> None:
    meta = describe(FakeEmbedder(), name="tests/fake").model_copy(update={"license": "mit"})
    assert MtebEncoder(FakeEmbedder(), name="x/y", model_meta=meta).mteb_model_meta is meta


@pytest.mark.parametrize("name", ["mini", "a/b/c", "/mini", ""])
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="owner/name"):
        MtebEncoder(FakeEmbedder(), name=name)


def test_without_mteb_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "clap_musicgen.bridges.mteb")
    monkeypatch.setitem(sys.modules, "mteb.models", None)
    with pytest.raises(InputError, match=r"pip install 'clap-musicgen\[mteb\]'"):
        __import__("clap_musicgen.bridges.mteb")
