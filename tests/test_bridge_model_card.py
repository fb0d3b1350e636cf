"""The model card: everything the run knows, nothing it does not, and the Hub can read it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import EvalResult, ModelCard
from hypothesis import given
from hypothesis import strategies as st

from clap_musicgen.bridges.model_card import card_fingerprint, card_licence, model_card
from clap_musicgen.bridges.run_report import read_run, without_path
from clap_musicgen.errors import CheckpointError
from clap_musicgen.evaluation import report
from clap_musicgen.evaluation.figures import Figure, Result
from conftest import build_tiny
from run_folder import CHANGED, FOUND, NAMED, write_results, write_run

MODEL = build_tiny()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "mine", MODEL)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "mine"))


def card(run: Path, **choices: Any) -> str:
    return model_card(run, model=MODEL, **choices)


def index(text: str) -> dict[tuple[str, str, str], EvalResult]:
    data: Any = ModelCard(text).data
    return {(e.task_type, e.dataset_type, e.metric_type): e for e in data.eval_results or []}


def test_the_front_matter_is_what_the_hub_reads(run: Path) -> None:
    text = card(run, repository="me/mine", licence="cc-by-4.0", datasets=["me/songs"])
    data: Any = ModelCard(text).data
    assert data.library_name == "clap-musicgen"
    assert data.pipeline_tag == "feature-extraction"
    assert data.license == "cc-by-4.0"
    assert data.datasets == ["me/songs"]
    assert data.model_name == "mine"
    assert "music" in data.tags
    assert "base_model" not in data.to_dict()


def test_the_model_index_holds_every_figure_with_interval_and_chance(run: Path) -> None:
    found = index(card(run))
    of_test = found["text-to-music-retrieval", "own-test-split", "mrr"]
    assert of_test.metric_value == 0.345
    assert of_test.metric_args == {"chance": 0.101, "before": 0.212, "queries": 17}
    recall = found["text-to-music-retrieval", "test_drums", "r_at_10"]
    assert (recall.dataset_name, recall.dataset_split) == ("test, drums", "test")
    assert recall.metric_args == {"chance": 0.35, "low": 0.52, "high": 0.7, "queries": 17}
    named = found["zero-shot-classification", "test_drums", "accuracy"]
    assert named.metric_args == {
        "chance": 0.25,
        "high": 0.7,
        "queries": 20,
    }  # it has no lower bound
    sets, figures = 2, len(FOUND.figures)
    assert len(found) == 1 + sets * figures + len(NAMED.figures)


def test_the_text_says_all_that_the_run_knows(run: Path) -> None:
    text = card(run, repository="me/mine")
    for words in (
        'ClapMusicGen.from_pretrained("me/mine")',
        "80 train, 10 val, 20 test",
        "240 clips and 75 captions",
        "1 file could not be used",
        "Training started from `mini` (bundled with clap-musicgen, licence `cc-by-sa-4.0`)",
        "| `settings.objective.loss` | list_net |",
        "| `unfreeze` | none |",
        "**better**, difference +0.133 [+0.021, +0.250]",
        "| test | 20 | 0.212 | 0.345 | 0.101 |",
        "step 60 of 100",
        "**4.0** [3.0, 6.5] 9.5",
        "0.345 [0.090, 0.410] 0.101",
        "captions that are alike count as one",
        "`{} music`",
        "gain -20 dB",
        "`old/results.json` was measured on other weights",
        "8 dimensions",
        "0.5 s",
        f"`{MODEL.fingerprint}`",
    ):
        assert words in text, words


def test_nothing_of_the_machine_is_told(run: Path) -> None:
    text = card(run)
    assert "somebody" not in text
    assert "broken.mp3" not in text
    assert str(run.parent) not in text
    assert "| `teacher` | minilm |" in text


def test_what_is_not_known_is_said_and_not_made_up(run: Path, tmp_path: Path) -> None:
    text = card(run)
    assert "None is stated" in text
    front: Any = ModelCard(text).data
    data = front.to_dict()
    assert "license" not in data
    assert "datasets" not in data
    bare = tmp_path / "bare"
    MODEL.save_pretrained(bare)
    text = card(bare)
    assert "holds no report of a training run" in text
    assert "how good they are is not known here" in text
    assert "## Settings" not in text
    assert "model-index" not in text
    assert "None" not in text.replace("None is stated", "")
    assert text.startswith("---\nlibrary_name: clap-musicgen\n")


def test_the_limits_follow_from_what_was_measured(run: Path) -> None:
    text = card(run)
    assert "not measured on a public benchmark" in text
    assert "lossy formats" not in text
    shutil.rmtree(run / "test")
    assert "lossy formats" in card(run)
    write_results(run / "gtzan", MODEL.fingerprint, benchmark="gtzan", source="Tzanetakis 2002")
    text = card(run)
    assert "public benchmark" not in text
    assert "### gtzan, split test" in text
    assert "Source: Tzanetakis 2002." in text


def test_a_single_query_without_an_interval(run: Path) -> None:
    content = json.loads((run / "report.json").read_text(encoding="utf-8"))
    content["test"] |= {"low": float("nan"), "high": float("nan"), "queries": 1}
    (run / "report.json").write_text(json.dumps(content), encoding="utf-8")
    text = card(run)
    assert "nan" not in text
    assert ".nan" not in text
    assert "difference +0.133 (95 %" in text


@pytest.mark.parametrize("name", ["report.json", "run.json", "test/results.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"test": 1}', '{"results": {"a": 1}}', "\udcff"])
def test_a_damaged_report_is_named(run: Path, name: str, content: str) -> None:
    (run / name).write_text(content, encoding="utf-8", errors="surrogateescape")
    if name == "run.json" and content.startswith('{"'):
        assert "240 clips" not in card(run)
        return
    with pytest.raises(CheckpointError, match=name.split("/")[-1]):
        card(run)


def test_results_are_read_back_as_they_were(run: Path) -> None:
    (found,) = read_run(run, fingerprint=MODEL.fingerprint).evaluations
    whole = report.to_markdown({"drums": [FOUND, NAMED], "voices": [FOUND]}, robustness=CHANGED)
    assert report.to_markdown(found.results, robustness=found.robustness) == whole


@given(
    low=st.floats(0, 1), high=st.floats(0, 1), chance=st.floats(0, 1), lower_is_better=st.booleans()
)
def test_whether_chance_is_beaten_survives_a_file(
    low: float, high: float, chance: float, lower_is_better: bool
) -> None:
    low, high = min(low, high), max(low, high)
    if min(abs(low - chance), abs(high - chance)) < 1e-6:
        return  # within rounding of the border
    figure = Figure("x", (low + high) / 2, chance, low, high, 3, lower_is_better)
    plain = json.loads(report.to_json({"s": [Result("t", 3, 3, (figure,))]}))
    from clap_musicgen.bridges.run_report import _figure

    again = _figure("x", plain["results"]["s"]["t"]["metrics"]["x"])
    assert again.beats_chance == figure.beats_chance


def test_the_start_as_a_path_a_hub_id_or_a_name(tmp_path: Path) -> None:
    told = {
        "mini": "mini",
        "owner/name": "owner/name",
        "/home/me/runs/first": "first",
        "./runs/first/": "first",
        "~/first": "first",
        "C:\\runs\\first": "first",
        "music/runs/first": "first",
    }
    assert {name: without_path(name) for name in told} == told
    text = card(write_run(tmp_path / "x", MODEL, start="/home/me/base | 2", measured=False))
    assert "/home/me" not in text
    assert "text→music MRR of base \\| 2 |" in text


def test_a_card_names_its_weights_and_its_licence(run: Path) -> None:
    text = card(run, licence="mit")
    assert card_fingerprint(text) == MODEL.fingerprint
    assert card_licence(text) == "mit"
    assert card_licence("# no front matter\n") is None
    assert card_fingerprint("# my own words, fingerprint unknown\n") is None


def test_a_bundled_model_has_a_card_too() -> None:
    from clap_musicgen.model.checkpoint import find_checkpoint

    assert "4.20 M" in model_card(find_checkpoint("mini"), repository="me/copy")
