"""benchmarks/soak.py: every file can be made and read, the extremes are met, a crash is named."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import soak
import sounds
from clap_musicgen.audio.files import load_audio
from conftest import build_tiny

MANY = [soak.recipe(number, seed=0) for number in range(1500)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    build_tiny().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", sounds.KINDS)
def test_each_kind_is_written_and_read_at_its_extremes(name: str, tmp_path: Path) -> None:
    kind = sounds.KINDS[name]
    for rate in (kind.rates[0], kind.rates[-1]):
        for channels in {kind.channels[0], min(2, kind.channels[-1])}:
            path = tmp_path / f"sound{kind.suffix}"
            blocks = sounds.music(0.4, rate=rate, channels=channels)
            sounds.write_file(path, blocks, kind=kind, rate=rate, channels=channels)
            audio = load_audio(path, sample_rate=16_000)
            assert audio.problem == ""
            # an encoder fills its last frame: 2,048 samples of AAC are 0.26 s at 8 kHz
            assert len(audio.waveform) / 16_000 == pytest.approx(0.4, abs=0.3)
            assert np.abs(audio.waveform).max() > 0.05


def test_every_kind_is_written_with_each_number_of_channels(tmp_path: Path) -> None:
    for kind in sounds.KINDS.values():
        for channels in kind.channels:
            path = tmp_path / f"{channels}{kind.suffix}"
            blocks = sounds.music(0.05, rate=kind.rates[-1], channels=channels)
            sounds.write_file(path, blocks, kind=kind, rate=kind.rates[-1], channels=channels)
            assert path.stat().st_size > 0


def test_the_same_number_is_the_same_file(tmp_path: Path) -> None:
    made = soak.recipe(40, seed=5, longest=1.0)
    assert made == soak.recipe(40, seed=5, longest=1.0)
    assert made != soak.recipe(40, seed=6, longest=1.0)
    first = soak.make(made, tmp_path, seed=5).read_bytes()
    # an Ogg stream has a random serial number; everything else is the same to the byte
    assert abs(len(soak.make(made, tmp_path, seed=5).read_bytes()) - len(first)) < 10


def test_recipes_reach_all_kinds_lengths_rates_and_channels() -> None:
    assert {made.kind for made in MANY} == set(sounds.KINDS)
    assert {made.channels for made in MANY} == set(range(1, 9))
    assert {made.rate for made in MANY} >= set(sounds.EVERY_RATE)
    assert min(made.seconds for made in MANY) == pytest.approx(0.05)
    assert max(made.seconds for made in MANY) == 600.0
    middle = np.median([made.seconds for made in MANY[len(soak.EXTREMES) :]])
    assert middle == pytest.approx(np.sqrt(0.05 * 600), rel=0.2)  # log-uniform
    damaged = Counter(made.damage for made in MANY)
    assert set(damaged) == {"", "cut", "overwritten", "emptied"}
    assert damaged[""] / len(MANY) == pytest.approx(0.95, abs=0.02)


def test_no_recipe_exceeds_the_cap_and_few_lose_seconds_to_it() -> None:
    for made in MANY:
        kind = sounds.KINDS[made.kind]
        assert made.seconds * made.rate * made.channels <= soak.CAP * (1 + 1e-9)
        assert made.rate in kind.rates
        assert made.channels in kind.channels
    assert any(made.capped for made in MANY)
    assert sum(made.seconds > 300 for made in MANY) > 50


def test_a_cap_takes_channels_first_then_rate_then_seconds() -> None:
    wav, vorbis = sounds.KINDS["wav"], sounds.KINDS["ogg"]
    assert soak.capped(10.0, 192_000, 8, kind=wav) == (10.0, 192_000, 8)
    assert soak.capped(100.0, 192_000, 8, kind=wav) == (100.0, 192_000, 3)
    assert soak.capped(600.0, 192_000, 8, kind=wav) == (600.0, 96_000, 1)
    assert soak.capped(600.0, 192_000, 2, kind=vorbis) == (600.0, 48_000, 2)
    seconds, rate, channels = soak.capped(1e5, 192_000, 1, kind=wav)
    assert (rate, channels) == (8_000, 1)
    assert seconds * rate == pytest.approx(soak.CAP)


def test_growth_is_that_of_the_floor_after_the_first_block() -> None:
    mebibyte = 2**20
    resident = [n * mebibyte for n in (1, 5, 9, 20, 21, 30, 22, 99, 24)]
    blocks = soak.blocks_of([*resident, 7], 3)
    assert [block["floor"] for block in blocks] == [1, 20, 22]
    assert blocks[2]["peak"] == 99
    assert soak.growth(blocks) == 2
    assert soak.growth(blocks[:2]) is None


def test_verdicts() -> None:
    fine: Counter[str] = Counter(embedded=5, refused=1)
    assert soak.verdicts(fine, 3.0, tolerance=10)[0]
    assert soak.verdicts(fine, None, tolerance=10)[0]
    assert not soak.verdicts(fine, 11.0, tolerance=10)[0]
    for bad in ("crashed", "raised", "wrong"):
        assert not soak.verdicts(fine + Counter({bad: 1}), 3.0, tolerance=10)[0]


@pytest.mark.slow
def test_a_short_soak(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = len(soak.EXTREMES)
    given = ["--model", str(model), "--longest", "0.5", "--every", "10", "--tolerance", "1000"]
    code = soak.main(["--count", "30", "--first", str(first), "--seed", "4", *given, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0, found
    assert sum(found["outcomes"].values()) == 30
    assert set(found["outcomes"]) <= {"embedded", "refused"}
    assert len(found["blocks"]) == 3
    assert found["well"]


@pytest.mark.slow
def test_a_process_that_dies_is_a_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = soak.main(["--count", "3", "--model", str(tmp_path / "no model"), "--json"])
    assert code == 1
    found = json.loads(capsys.readouterr().out)
    assert found["outcomes"] == {"crashed": 1}
    assert "code 1" in found["notable"][0]["reason"]
