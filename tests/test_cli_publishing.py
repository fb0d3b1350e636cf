"""`card`, `push` and `export-onnx` on a tiny model; the server is the loopback's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from typer.testing import CliRunner

from clap_musicgen.cli import publishing
from clap_musicgen.errors import CheckpointError, ClapMusicGenError, InputError
from conftest import build_tiny
from loopback_hub import TOKEN, Hub, loopback_hub
from run_folder import write_run

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

app = typer.Typer()
app.command()(publishing.card)
app.command()(publishing.push)
app.command("export-onnx")(publishing.export_onnx)


class Result(NamedTuple):
    out: str
    error: str
    raised: BaseException | None


def call(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    raised = result.exception
    if raised is not None and not isinstance(raised, ClapMusicGenError | SystemExit):
        raise raised
    return Result(result.stdout, result.stderr, raised)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "mine", build_tiny())


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "mine"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with loopback_hub() as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


def test_a_card_then_a_push(run: Path, hub: Hub) -> None:
    made = call("card", run, "--repository", "me/mine", "--license", "mit", "--dataset", "me/songs")
    assert made.out.strip() == str(run / "README.md")
    text = (run / "README.md").read_text(encoding="utf-8")
    assert "license: mit" in text
    assert "- me/songs" in text
    pushed = call("push", run, "me/mine")
    assert pushed.raised is None
    assert pushed.out.startswith(f"{hub.url}/me/mine/commit/")
    assert "README.md" in pushed.error
    assert "--model me/mine" in pushed.error
    assert "licence" not in pushed.error  # the card states one
    assert hub.repositories["me/mine"].branches["main"]["README.md"] == text.encode()


def test_a_dry_run_shows_the_card(run: Path, hub: Hub) -> None:
    shown = call("push", run, "me/mine", "--dry-run")
    assert shown.out.startswith("---\nlibrary_name: clap-musicgen")
    assert "nothing was sent" in shown.error
    assert "model.safetensors" in shown.error
    assert "--license" in shown.error
    assert hub.requests == []


def test_json_private_and_branch(run: Path, hub: Hub) -> None:
    options = ("--private", "--revision", "v1", "--licence", "cc0-1.0", "--json")
    pushed = json.loads(call("push", run, "me/mine", *options).out)
    assert pushed["repository"] == "me/mine"
    assert pushed["files"]["model.safetensors"] == (run / "model.safetensors").stat().st_size
    assert not pushed["own_card"]
    assert hub.repositories["me/mine"].private
    assert "license: cc0-1.0" in hub.repositories["me/mine"].branches["v1"]["README.md"].decode()


def test_the_licence_is_asked_for_and_may_stay_unsaid(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["cc-by-4.0", " "])
    monkeypatch.setattr(publishing, "_terminal", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(answers))
    call("push", run, "me/mine")
    assert b"license: cc-by-4.0" in hub.repositories["me/mine"].branches["main"]["README.md"]
    second = call("push", run, "me/other")
    assert "states no licence" in second.error
    assert b"license:" not in hub.repositories["me/other"].branches["main"]["README.md"]


def test_errors_are_one_line(run: Path, hub: Hub, tmp_path: Path) -> None:
    wrong = call("push", run, "them/mine")
    assert isinstance(wrong.raised, CheckpointError)
    assert "\n" not in str(wrong.raised)
    assert isinstance(call("push", tmp_path / "gone", "me/mine").raised, InputError)
    assert isinstance(call("push", run, "mine").raised, InputError)
    (run / "README.md").write_text("mine", encoding="utf-8")
    assert "--replace" in str(call("card", run).raised)
    assert call("card", run, "--replace").raised is None


def test_export_onnx(run: Path, tmp_path: Path) -> None:
    shown = call("export-onnx", run, tmp_path / "onnx")
    assert shown.raised is None
    for words in ("audio.onnx", "text.onnx", "% of the codes agree", "cosine 1.0000000"):
        assert words in shown.out
    report = json.loads(call("export-onnx", run, tmp_path / "onnx", "--json").out)
    assert report["folder"] == str(tmp_path / "onnx")
    assert report["audio"]["centred_cosine"] > 0.9999
