"""Pieces of real files become vectors; what cannot be used is set aside with its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audio_factory import melody, write_audio
from clap_musicgen.audio.files import load_audio
from clap_musicgen.embedding import mean_direction
from clap_musicgen.errors import EmptyAudioError, InputError
from clap_musicgen.evaluation.pieces import Piece, embed_pieces, excerpt
from clap_musicgen.model.clap import ClapMusicGen
from clap_musicgen.model.tracks import embed_track
from fake_embedder import FakeEmbedder

RATE = 8_000


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("music") / "song.flac"
    return write_audio(path, melody(12.0, sample_rate=RATE), sample_rate=RATE)


def heard(piece: Piece) -> np.ndarray:
    return np.concatenate(list(excerpt(piece, sample_rate=RATE)))


@pytest.mark.parametrize(
    ("start", "end"), [(0.0, None), (2.5, None), (0.0, 3.0), (4.25, 9.125), (11.0, 99.0)]
)
def test_an_excerpt_holds_exactly_its_samples(song: Path, start: float, end: float | None) -> None:
    whole = load_audio(song, sample_rate=RATE).waveform
    last = None if end is None else round(end * RATE)
    np.testing.assert_array_equal(
        heard(Piece(song, start=start, end=end)), whole[round(start * RATE) : last]
    )


def test_a_piece_behind_the_end_says_so(song: Path) -> None:
    with pytest.raises(EmptyAudioError, match=r"starts at 30 s, but the file ends at 12\.0 s"):
        heard(Piece(song, start=30.0, end=40.0))


@pytest.mark.parametrize(("start", "end"), [(-1.0, None), (3.0, 3.0), (5.0, 2.0)])
def test_times_in_the_wrong_order_are_refused(start: float, end: float | None) -> None:
    with pytest.raises(InputError, match=r"song\.flac"):
        Piece(Path("song.flac"), start=start, end=end)


def test_a_track_is_the_mean_of_its_clips_weighted_by_seconds() -> None:
    model, sound = FakeEmbedder(), melody(40.3, sample_rate=RATE)
    clips = [sound[first : first + RATE] for first in range(0, len(sound), RATE)]
    slow = mean_direction(model.embed_clips(clips), np.array([len(clip) for clip in clips]))
    np.testing.assert_allclose(embed_track(model, [sound[:999], sound[999:]]), slow, atol=1e-6)
    assert max(model.batches[1:]) <= model.clips_at_once
    with pytest.raises(InputError, match="no vector"):
        embed_track(model, [])


def test_it_embeds_as_the_model_itself_does(song: Path, tiny: ClapMusicGen) -> None:
    (vector,) = embed_pieces(tiny, [Piece(song)]).vectors
    np.testing.assert_allclose(vector, tiny.embed_audio([song])[0], atol=1e-6)


def test_bad_files_are_set_aside_and_the_order_stays(song: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.ogg"
    broken.write_bytes(b"not audio at all" * 50)
    pieces = [
        Piece(song, caption="first"),
        Piece(broken, caption="second"),
        Piece(song, caption="third", start=20.0),
        Piece(tmp_path / "gone.wav"),
        Piece(song, caption="last", start=6.0),
    ]
    seen: list[tuple[int, int]] = []
    embedded = embed_pieces(
        FakeEmbedder(), pieces, on_progress=lambda done, of: seen.append((done, of))
    )
    assert [piece.caption for piece in embedded.pieces] == ["first", "last"]
    assert embedded.vectors.shape == (2, 12)
    assert [Path(path).name for path, _ in embedded.failed] == ["broken.ogg", song.name, "gone.wav"]
    assert all(reason for _, reason in embedded.failed)
    assert seen == [(n, 5) for n in range(1, 6)]


def test_nothing_usable_gives_no_rows(tmp_path: Path) -> None:
    embedded = embed_pieces(FakeEmbedder(), [Piece(tmp_path / "gone.wav")])
    assert (embedded.pieces, embedded.vectors.shape) == ([], (0, 12))
