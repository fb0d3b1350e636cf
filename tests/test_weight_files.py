"""Weight files: each form, only what is wanted, and every way a file can be wrong."""

from __future__ import annotations

import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from clap_musicgen.errors import CheckpointError
from clap_musicgen.model.weight_files import (
    fetch,
    fetch_with_weights,
    is_hub_id,
    read_json,
    read_tensors,
    weights_file,
)
from published_checkpoint import write_weights

FORMS = ("safetensors", "safetensors-shards", "bin", "bin-shards")
INDEX = "model.safetensors.index.json"


def sample() -> dict[str, Tensor]:
    return {f"part.{n}.weight": torch.full((n + 1, 2), float(n)) for n in range(9)}


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in theirs)


def refused(folder: Path) -> str:
    """The message, on one line, with which a folder is refused."""
    with pytest.raises(CheckpointError) as caught:
        read_tensors(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same(tmp_path: Path, form: str) -> None:
    write_weights(tmp_path, sample(), form)
    assert same(read_tensors(tmp_path), sample())


@pytest.mark.parametrize("form", FORMS)
def test_only_what_is_wanted(tmp_path: Path, form: str) -> None:
    write_weights(tmp_path, sample(), form)
    found = read_tensors(tmp_path, wanted=lambda key: key in {"part.3.weight", "absent"})
    assert list(found) == ["part.3.weight"]


def test_shards_without_a_wanted_tensor_need_not_be_there(tmp_path: Path) -> None:
    write_weights(tmp_path, sample(), "safetensors-shards")
    (tmp_path / "model-00003-of-00003.safetensors").unlink()
    assert len(read_tensors(tmp_path, wanted=lambda key: key == "part.0.weight")) == 1
    assert "model-00003-of-00003.safetensors" in refused(tmp_path)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_become_single_and_integers_stay(
    tmp_path: Path, form: str, dtype: torch.dtype
) -> None:
    stored = {"a": torch.tensor([1.5, -2.0], dtype=dtype), "b": torch.tensor([3])}
    write_weights(tmp_path, stored, form)
    found = read_tensors(tmp_path)
    assert (found["a"].dtype, found["b"].dtype) == (torch.float32, torch.int64)
    assert found["a"].tolist() == [1.5, -2.0]


def test_an_older_pickle_is_read(tmp_path: Path) -> None:
    stored = OrderedDict(a=torch.nn.Parameter(torch.ones(2)), b=torch.arange(3))
    torch.save(stored, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    found = read_tensors(tmp_path)
    assert found["a"].tolist() == [1, 1]
    assert found["b"].tolist() == [0, 1, 2]


def test_safetensors_come_first_and_one_file_before_shards(tmp_path: Path) -> None:
    for form in reversed(FORMS):
        write_weights(tmp_path, {**sample(), "form": torch.tensor([FORMS.index(form)])}, form)
        assert read_tensors(tmp_path)["form"].item() == FORMS.index(form)
    assert weights_file(tmp_path) == tmp_path / "model.safetensors"


def test_no_weights(tmp_path: Path) -> None:
    assert weights_file(tmp_path) is None
    assert "neither model.safetensors nor pytorch_model.bin" in refused(tmp_path)


# --- damaged files ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kept", [0, 1, 7, 100, -1, -40])
def test_a_truncated_file_is_named(tmp_path: Path, form: str, kept: int) -> None:
    write_weights(tmp_path, sample(), form)
    file = sorted(f for f in tmp_path.iterdir() if f.suffix != ".json")[-1]
    file.write_bytes(file.read_bytes()[:kept])
    assert str(file) in refused(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize(
    "content", [b"garbage" * 50, b"PK\x03\x04 not a zip", b"\x80\x02.", b"\x80\x04N.", b"{}"]
)
def test_garbage_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert str(tmp_path / name) in refused(tmp_path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(FORMS), where=st.floats(0, 1, exclude_max=True), to=st.binary(max_size=9)
)
def test_flipped_bytes_never_crash(tmp_path: Path, form: str, where: float, to: bytes) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    write_weights(tmp_path, sample(), form)
    files = sorted(tmp_path.iterdir())
    file = files[int(where * len(files))]
    content = bytearray(file.read_bytes())
    start = int(where * len(content))
    content[start : start + len(to)] = to
    file.write_bytes(content)
    try:
        said = " ".join(map(str, read_tensors(tmp_path).values())) + str(tmp_path)
    except CheckpointError as error:
        said = str(error)
    assert str(tmp_path) in said


def test_a_pointer_of_git_lfs(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid 1")
    assert "git lfs pull" in refused(tmp_path)


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.ones(1), "b": Harmful()}, path, _use_new_zipfile_serialization=zipped)
    message = refused(tmp_path)
    assert "posix.mkdir" in message or "nt.mkdir" in message
    assert "safetensors" in message
    path.write_bytes(pickle.dumps(Harmful()))
    assert str(path) in refused(tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": [1, 2]}, "'a' is a list, not a plain tensor"),
        ({"state_dict": {"a": torch.ones(1)}}, "'state_dict' is a dict"),
        ({3: torch.ones(1)}, "3 is a tensor"),
        ([torch.ones(1)], "holds a list, not names and tensors"),
        (torch.ones(1), "holds a Tensor"),
        ({"a": torch.ones(2, 2).to_sparse()}, "layout torch.sparse_coo"),
        ({"a": torch.empty(3, device="meta")}, "'a' is a tensor"),
        ({"a": torch.ones(1).expand(10**9)}, "'a' is a tensor"),
    ],
)
def test_a_pickle_with_something_else(tmp_path: Path, content: object, said: str) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    assert said in refused(tmp_path)


# --- an index ---------------------------------------------------------------------------------


def with_index(folder: Path, places: dict[str, Any], **shards: dict[str, Tensor]) -> Path:
    for name, tensors in shards.items():
        save_file(tensors, folder / f"{name}.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    return folder


@pytest.mark.parametrize(
    "shard",
    ["../x.safetensors", "/etc/x.safetensors", "a/x.safetensors", "..\\x.safetensors", "x.bin",
     "C:x.safetensors", "x\0.safetensors", "", "..", 3, None, ["x.safetensors"]],
)  # fmt: skip
def test_an_index_stays_in_its_folder(tmp_path: Path, shard: object) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors")
    assert "puts a in" in refused(with_index(inside, {"a": shard}))


def test_an_index_that_contradicts_its_shards(tmp_path: Path) -> None:
    one, two = {"a": torch.ones(1), "b": torch.ones(2)}, {"b": torch.zeros(2)}
    places = {"a": "x.safetensors", "b": "y.safetensors"}
    with_index(tmp_path, places, x=one, y=two)
    assert "b is in 'x.safetensors', and it should be in 'y.safetensors' alone" in refused(tmp_path)
    with_index(tmp_path, {**places, "c": "x.safetensors"}, x={"a": one["a"]}, y=two)
    assert "for example c in 'x.safetensors'" in refused(tmp_path)
    surplus = {"surplus": torch.ones(1)}
    with_index(tmp_path, places, x={"a": one["a"], **surplus}, y={**two, **surplus})
    assert "surplus is in" in refused(tmp_path)
    with_index(tmp_path, {"a": "absent.safetensors"})
    assert "'absent.safetensors', which is not beside it" in refused(tmp_path)


@pytest.mark.parametrize(
    "content", ["", "[1]", "{}", '{"weight_map": {}}', '{"weight_map": [1]}', "[" * 100_000]
)
def test_a_damaged_index_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / INDEX).write_text(content)
    assert str(tmp_path / INDEX) in refused(tmp_path)


def test_reading_json(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}
    for content in (b"3", b"\xff", b"", b"9" * 5000):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"config\.json"):
            read_json(path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_json(path)


# --- finding ----------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real huggingface_hub, told to stay offline, with a cache of its own."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def snapshot(cache: Path, name: str) -> Path:
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    folder = repository / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("a/b", True), ("a", False), ("a/b/c", False), ("./b", False), ("/b", False), ("a/", False),
     ("~/b", False), ("../b", False), ("", False)],
)  # fmt: skip
def test_hub_ids(name: str, is_one: bool) -> None:
    assert is_hub_id(name) == is_one


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert fetch(tmp_path, ["*"]) == tmp_path
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="is a file"):
        fetch(tmp_path / "file", ["*"])
    with pytest.raises(CheckpointError, match="not a folder, and not a Hub id"):
        fetch(tmp_path / "nowhere", ["*"])


@pytest.mark.parametrize("form", FORMS)
def test_weights_from_the_hubs_cache(cache: Path, form: str) -> None:
    folder = snapshot(cache, "some/one")
    write_weights(folder, sample(), form)
    found = fetch_with_weights("some/one", ["config.json"])
    assert found.resolve() == folder.resolve()
    assert same(read_tensors(found), sample())


def test_what_is_not_in_the_cache(cache: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'some/one'.*network"):
        fetch("some/one", ["*"])
    with pytest.raises(CheckpointError, match=r"'some/o ne'.*check the name"):
        fetch("some/o ne", ["*"])
