"""benchmarks/crash.py: a few kills of the 200, and that it would notice what it looks for."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import crash
from crash_child import PHASES, Quick, Stage
from library_music import RATE
from made_library import content_of, make_some, table_of


@pytest.mark.slow
def test_nothing_is_lost_or_wrong_after_a_few_kills(tmp_path: Path) -> None:
    music = crash.write_music(tmp_path / "music", tracks=10, copies=2)
    tally = crash.Campaign(tmp_path, music, seed=5).run(3)
    assert tally.well, tally
    assert sum(tally.kills.values()) == 3
    assert tally.runs >= 1
    assert tally.tracks == 12


def test_whatever_changes_in_a_library_is_seen(tmp_path: Path) -> None:
    make_some(tmp_path / "library")
    whole = crash.contents_of(tmp_path / "library")
    assert len(whole) == 7
    make_some(tmp_path / "again", per_group=3)
    assert crash.contents_of(tmp_path / "again") == whole

    clips = table_of(tmp_path / "library", "clips")
    row = clips.read(clips.schema.names, f"content = '{content_of('3')}' AND start = 1.0")
    clips.add(row)
    assert differing(whole, tmp_path / "library") == {"/music/3.wav"}
    clips.delete(f"content = '{content_of('3')}' AND start = 1.0")
    assert differing(whole, tmp_path / "library") == {"/music/3.wav"}
    clips.add(row)
    assert differing(whole, tmp_path / "library") == set()
    tracks = table_of(tmp_path / "library", "tracks")
    tracks.delete("path = '/music/5.wav'")
    assert set(whole) - set(crash.contents_of(tmp_path / "library")) == {"/music/5.wav"}


def differing(whole: crash.Contents, library: Path) -> set[str]:
    found = crash.contents_of(library)
    assert found.keys() == whole.keys()
    return {path for path in found if found[path] != whole[path]}


def test_what_is_lost_or_wrong_is_counted() -> None:
    kills = Counter({"committing": 2})
    tally = crash.Tally(kills, opened=Counter(kills))
    assert tally.well
    once = ("/a.wav", 1)
    assert not crash.Tally(kills, opened=Counter({"committing": 1})).well
    assert not crash.Tally(kills, opened=Counter(kills), lost=[once]).well
    assert not crash.Tally(kills, opened=Counter(kills), wrong=[once]).well
    assert not crash.Tally(kills, opened=Counter(kills), faults=["?"]).well
    options = crash.parse(["--kills", "2"])
    table = crash.tables_of(tally, options)[0]
    assert table.rows == [("committing", "2", "2"), ("all", "2", "2")]
    assert "0 lost, 0 wrong" in table.notes[0]


def test_the_stage_tells_another_process_where_one_is(tmp_path: Path) -> None:
    child, parent = Stage(tmp_path / "stage"), Stage(tmp_path / "stage")
    assert parent.phase == "starting"
    with child.during("decoding"):
        for number in (1, 2):
            with child.during("committing"):
                assert (parent.phase, parent.begun("committing")) == ("committing", number)
        assert parent.phase == "decoding"
    parent.reset()
    assert all(child.begun(phase) == 0 for phase in PHASES)


def test_the_quick_embedder_gives_a_clip_the_same_bits_in_any_batch() -> None:
    generator = np.random.default_rng(0)
    waveforms = [generator.normal(size=RATE // 2 + n).astype(np.float32) for n in range(5)]
    model = Quick()
    together = model.embed_clips(waveforms)
    alone = np.concatenate([model.embed_clips([waveform]) for waveform in waveforms])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert model.embed_text(["a", "b"]).shape == (2, model.dim)
