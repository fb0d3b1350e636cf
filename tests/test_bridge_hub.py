"""Pushing to the Hub: a real client, a real (loopback) server, real files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from clap_musicgen.bridges.hub import FILES, push_to_hub, write_card
from clap_musicgen.errors import CheckpointError, InputError
from clap_musicgen.model.clap import ClapMusicGen
from conftest import build_tiny
from loopback_hub import TOKEN, Hub, Repository, loopback_hub
from run_folder import write_run

CARD = "README.md"
# huggingface_hub's own upload by Git LFS, with the HTTP client that it has chosen.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with loopback_hub() as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nonexistent/token")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "mine", build_tiny())


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "mine"))


def test_one_commit_holds_the_checkpoint_and_its_card_and_loads_again(hub: Hub, run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    pushed = push_to_hub(run, "me/mine", licence="cc-by-4.0")
    repository = hub.repositories["me/mine"]
    assert [commit["keys"].count("lfsFile") for commit in repository.commits] == [1]
    files = repository.branches["main"]
    assert set(files) == {*FILES, CARD} == set(pushed.files)
    for name in FILES:
        assert files[name] == (run / name).read_bytes()
    assert files[CARD].decode() == pushed.card
    assert "license: cc-by-4.0" in pushed.card
    assert 'from_pretrained("me/mine")' in pushed.card
    assert {name: len(content) for name, content in files.items()} == pushed.files
    assert pushed.url.startswith(f"{hub.url}/me/mine/commit/")
    assert not repository.private
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    words = ["dark metal"]
    own, back = ClapMusicGen.from_pretrained(run), ClapMusicGen.from_pretrained("me/mine")
    assert back.fingerprint == own.fingerprint
    assert np.array_equal(back.embed_text(words), own.embed_text(words))


def test_a_dry_run_checks_everything_and_sends_nothing(hub: Hub, run: Path) -> None:
    done = push_to_hub(run, "me/mine", dry_run=True)
    assert hub.requests == []
    assert done.url == ""
    assert not done.own_card
    assert not (run / CARD).exists()
    assert set(done.files) == {*FILES, CARD}


def test_private_branch_and_second_push(hub: Hub, run: Path) -> None:
    push_to_hub(run, "me/mine", private=True, revision="v1")
    repository = hub.repositories["me/mine"]
    assert repository.private
    assert set(repository.branches["v1"]) == {*FILES, CARD}
    assert repository.branches["main"] == {}
    push_to_hub(run, "me/mine", private=True, revision="v1")
    assert [commit["branch"] for commit in repository.commits] == ["v1", "v1"]


def test_private_never_lands_in_a_public_repository(hub: Hub, run: Path) -> None:
    hub.repositories["me/mine"] = Repository()
    with pytest.raises(CheckpointError, match="exists and is public"):
        push_to_hub(run, "me/mine", private=True)
    assert hub.repositories["me/mine"].commits == []
    assert hub.objects == {}


def test_a_readme_in_the_folder_goes_up_as_it_is(hub: Hub, run: Path) -> None:
    own = b"---\nlicense: mit\n---\r\n\r\n# my own words\n"
    (run / CARD).write_bytes(own)
    pushed = push_to_hub(run, "me/mine", licence="mit")
    assert pushed.own_card
    assert hub.repositories["me/mine"].branches["main"][CARD] == own
    assert (run / CARD).read_bytes() == own


def test_a_readme_that_contradicts_is_refused(hub: Hub, run: Path) -> None:
    write_card(run, licence="mit")
    with pytest.raises(InputError, match=r"states the licence mit, you gave cc0-1\.0"):
        push_to_hub(run, "me/mine", licence="cc0-1.0")
    text = (run / CARD).read_text(encoding="utf-8")
    other = build_tiny(dim=7)
    other.save_pretrained(run)
    with pytest.raises(InputError, match=f"card of other weights.*{other.fingerprint}"):
        push_to_hub(run, "me/mine")
    assert (run / CARD).read_text(encoding="utf-8") == text
    (run / CARD).write_text("---\nlicense: [\n---\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="front matter"):
        push_to_hub(run, "me/mine", licence="mit")
    (run / CARD).write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=r"README\.md"):
        push_to_hub(run, "me/mine")
    assert hub.requests == []


def test_a_card_is_written_once_and_replaced_when_asked(run: Path) -> None:
    path = write_card(run, repository="me/mine", licence="mit")
    text = path.read_text(encoding="utf-8")
    assert write_card(run, repository="me/mine", licence="mit") == path  # the same again
    path.write_text(text + "\nMy own paragraph.\n", encoding="utf-8")
    with pytest.raises(InputError, match="--replace"):
        write_card(run, repository="me/mine", licence="mit")
    assert path.read_text(encoding="utf-8").endswith("My own paragraph.\n")
    write_card(run, repository="me/mine", licence="mit", replace=True)
    assert path.read_text(encoding="utf-8") == text
    assert not list(run.glob(".README*"))


def test_what_does_not_load_is_never_sent(hub: Hub, run: Path) -> None:
    weights = load_file(run / "model.safetensors")
    weights["text_projection.projection.0.bias"][0] = torch.nan
    save_file(weights, run / "model.safetensors")
    with pytest.raises(CheckpointError, match="not finite"):
        push_to_hub(run, "me/mine")
    (run / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        push_to_hub(run, "me/mine")
    (run / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match="not a clap-musicgen checkpoint"):
        push_to_hub(run, "me/mine")
    with pytest.raises(InputError, match="is no folder"):
        push_to_hub(run / "gone", "me/mine")
    assert hub.requests == []


@pytest.mark.parametrize("name", ["mine", "a/b/c", "me/mi ne", "me/", "", "me/--x"])
def test_a_name_that_is_none_is_refused_before_any_work(hub: Hub, name: str) -> None:
    with pytest.raises(InputError, match="owner/name"):
        push_to_hub("no folder at all", name)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("repository", "token", "fail", "words"),
    [
        ("me/mine", "hf_wrong", {}, "hf auth login"),
        ("them/mine", None, {}, "may not write to 'them'"),
        ("me/mine", None, {"create": (404, "no such user")}, "there is no 'me' on the Hub"),
        ("me/mine", None, {"/commit/": (409, "changed")}, "push again"),
        ("me/mine", None, {"/commit/": (400, "license must be one of")}, "license must be one of"),
        ("me/mine", None, {"/storage/": (403, "quota")}, "nothing was committed"),
        ("me/mine", None, {"/batch": (413, "too large")}, "too large"),
    ],
)
def test_a_refusal_says_why_and_commits_nothing(
    hub: Hub,
    run: Path,
    repository: str,
    token: str | None,
    fail: dict[str, tuple[int, str]],
    words: str,
) -> None:
    hub.fail = fail
    with pytest.raises(CheckpointError, match="the Hub did not take") as caught:
        push_to_hub(run, repository, token=token)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert all(not found.commits for found in hub.repositories.values())


def test_no_token_no_network_and_offline(
    hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(CheckpointError, match=r"401.*hf auth login"):
        push_to_hub(run, "me/mine")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match="check the network"):
        push_to_hub(run, "me/mine")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="unset HF_HUB_OFFLINE"):
        push_to_hub(run, "me/mine")


def test_no_token_is_ever_told(hub: Hub, run: Path) -> None:
    hub.fail = {"create": (500, "what is TOKEN for?")}
    for token in (None, "hf_another", "odd-token"):
        with pytest.raises(CheckpointError) as caught:
            push_to_hub(run, "me/mine", token=token)
        message = str(caught.value)
        assert "***" in message
        assert (token or TOKEN) not in message
        assert caught.value.__suppress_context__
