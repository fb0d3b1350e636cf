"""Paths as a library keeps them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_musicgen.errors import InputError, InputTypeError, LibraryError
from clap_musicgen.library.paths import (
    absolute,
    gone,
    is_gone,
    is_under,
    listed,
    path_key,
    readable,
)

NAMES = st.binary(min_size=1, max_size=60).filter(lambda name: b"\0" not in name)


def test_absolute_and_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/nina")
    assert absolute("~/Music/../a") == "/home/nina/a"
    assert absolute("b/./c//d") == str(tmp_path / "b" / "c" / "d")
    assert listed(Path("x")) == listed("x") == listed(["x"]) == [str(tmp_path / "x")]
    with pytest.raises(InputError, match="name of no user"):
        absolute("~nobody-of-that-name/a")
    with pytest.raises(InputTypeError, match="paths must be"):
        listed(b"x")  # type: ignore[arg-type]


@given(NAMES, NAMES)
def test_keys_are_hashes_and_differ_where_names_do(first: bytes, second: bytes) -> None:
    keys = [path_key(os.fsdecode(name)) for name in (first, second)]
    assert all(len(key) == 32 and set(key) <= set("0123456789abcdef") for key in keys)
    assert (keys[0] == keys[1]) == (first == second)


@given(NAMES)
def test_readable_is_utf8_and_leaves_utf8_alone(name: bytes) -> None:
    shown = readable(os.fsdecode(name))
    shown.encode("utf-8")
    try:
        assert shown == name.decode("utf-8")
    except UnicodeDecodeError:
        assert "\\x" in shown


def test_is_under_goes_by_whole_names() -> None:
    assert is_under("/a/b.wav", "/a")
    assert is_under("/a/b.wav", "/a/b.wav")
    assert is_under("/a/b.wav", "/")
    assert not is_under("/ab/c.wav", "/a")
    assert not is_under("/a", "/a/b")


def test_gone(tmp_path: Path) -> None:
    kept = tmp_path / "kept.wav"
    kept.touch()
    tracks = [str(kept), str(tmp_path / "gone.wav"), str(kept / "below a file.wav"), "/else.wav"]
    assert gone(tracks, roots=[str(tmp_path)], found=[str(kept)]) == tracks[1:3]
    assert not is_gone(str(kept))
    assert not is_gone(str(tmp_path / ("long" * 200)))  # ENAMETOOLONG tells nothing
    with pytest.raises(LibraryError, match="1 of its tracks"):
        gone(tracks, roots=[str(tmp_path), "/else.wav"], found=[str(kept)])
    assert gone(tracks, roots=["/nothing of ours"], found=[]) == []
