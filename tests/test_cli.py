"""The command line on real files and the bundled model."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

import clap_musicgen
from audio_factory import melody, write_audio, write_wav
from clap_musicgen.cli import run
from clap_musicgen.cli.show import clock, safe

PROGRAM = [sys.executable, "-c", "from clap_musicgen.cli import main; main()"]
RATE = 32_000


class Result(NamedTuple):
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("CLAP_MUSICGEN_LIBRARY", raising=False)

    def call(*arguments: str | Path) -> Result:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    for place, name in enumerate(["one.wav", "two.flac", "[red]three\n.mp3"]):
        write_audio(
            folder / name,
            melody(2.0, sample_rate=RATE, seed=place),
            sample_rate=RATE,
            format=name.rpartition(".")[2],
            tags={"title": f"Song {place}", "artist": "Nina"} if name == "two.flac" else None,
        )
    return folder


@pytest.fixture(scope="session")
def library(music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "library"
    assert run(["index", str(music), "--library", str(folder)]) == 0
    return folder


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def assert_user_error(result: Result, *words: str) -> None:
    """One clear line on standard error, nothing on standard output, exit code 1."""
    assert result.code == 1
    assert result.out == ""
    assert len(lines_of(result.err)) == 1, result.err
    assert result.err.startswith("error: ")
    for word in words:
        assert word in result.err


# Start


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    script = (
        "import sys, clap_musicgen.cli\n"
        "costly = {'torch', 'transformers', 'lancedb', 'av', 'pyarrow', 'numpy', 'soxr'}\n"
        "heavy = costly & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_help_and_version(cli: Any) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        result = cli(*arguments)
        assert result.code == 0
        for command in ("index", "search", "similar", "classify", "embed", "info"):
            assert command in result.out
            assert command in cli(command, "--help").out
    assert cli("--version") == Result(0, f"clap-musicgen {clap_musicgen.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bogus"], ["bogus"]),
        (["search", "jazz", "--bogus"], ["--bogus"]),
        (["index"], ["FOLDER"]),
        (["similar"], ["FILE"]),
        (["search"], ["--like"]),
        (["search", ""], ["query is empty"]),
        (["search", "  \n"], ["query is empty"]),
        (["search", "jazz", "--without", " "], ["--without is empty"]),
        (["search", "jazz", "-k", "0"], ["'-k'"]),
        (["search", "jazz", "-k", "many"], ["'-k'"]),
        (["search", "jazz", "--library", "/no/such"], ["no library in '/no/such'", "index"]),
        (["index", "/no/such"], ["'/no/such'", "no such file or folder"]),
        (["classify", "a.mp3"], ["--labels"]),
        (["classify", "a.mp3", "--labels", "jazz"], ["two or more"]),
        (["classify", "a.mp3", "--labels", "jazz", "jazz "], ["two or more"]),
        (["classify", "--labels", "jazz", "rock"], ["FILE"]),
        (["embed", "--text", "jazz"], ["--out"]),
        (["embed", "--text", "jazz", "--out", "a.csv"], [".parquet, .jsonl, .npy"]),
        (["embed", "--text", "jazz", "--out", "/no/such/a.npy"], ["does not exist"]),
        (["embed", "--out", "a.npy"], ["nothing to embed"]),
        (["embed", "--text", " ", "--out", "a.npy"], ["--text is empty"]),
    ],
)
def test_user_errors_are_one_line(cli: Any, arguments: list[str], words: list[str]) -> None:
    assert_user_error(cli(*arguments), *words)


def test_an_unknown_model_is_a_user_error(cli: Any, library: Path, tmp_path: Path) -> None:
    assert_user_error(
        cli("search", "jazz", "--library", library, "--model", tmp_path), str(tmp_path)
    )


# index


def test_index_reports_what_it_did(cli: Any, music: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "library"
    first = cli("index", music, "--library", folder)
    assert first.code == 0
    assert "3 added, 0 updated, 0 unchanged, 0 removed, 0 failed" in first.out
    assert "× real time" in first.out
    assert f"library: {folder} (3 tracks)" in first.out
    again = cli("index", music, "--library", folder, "--json").json()
    assert len(again["unchanged"]) == again["tracks"] == 3
    assert again["added"] == again["failed"] == again["problems"] == []
    assert again["library"] == str(folder)


def test_index_reports_bad_and_cut_files_and_prunes(cli: Any, tmp_path: Path) -> None:
    folder, library = tmp_path / "music", tmp_path / "library"
    folder.mkdir()
    cut = write_audio(folder / "cut.flac", melody(2.0, sample_rate=RATE), sample_rate=RATE)
    cut.write_bytes(cut.read_bytes()[:-15_000])
    for place in range(12):
        (folder / f"bad{place:02}.mp3").write_text("no music")
    result = cli("index", folder, "--library", library)
    assert result.code == 0
    assert "1 added, 0 updated, 0 unchanged, 0 removed, 12 failed" in result.out
    assert result.out.count("the content is not audio") == 10
    assert "… and 2 more" in result.out
    assert f"{cut}: truncated: " in result.out
    for bad in folder.glob("bad*"):
        bad.unlink()
    whole = write_audio(folder / "whole.wav", melody(1.0, sample_rate=RATE), sample_rate=RATE)
    cut.unlink()
    report = cli("index", folder, "--library", library, "--prune", "--json").json()
    assert report["added"] == [str(whole)]
    assert report["removed"] == [str(cut)]


def test_index_of_bad_files_alone_fails(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.mp3").write_text("no music")
    result = cli("index", tmp_path / "bad.mp3", "--library", tmp_path / "library", "--json")
    assert result.code == 1
    reason = {"path": str(tmp_path / "bad.mp3"), "reason": "the content is not audio"}
    assert result.json()["failed"] == [reason]


def test_index_of_nothing_says_so(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no music")
    result = cli("index", tmp_path, "--library", tmp_path / "library")
    assert_user_error(result, "nothing to index", str(tmp_path))
    assert not (tmp_path / "library").exists()


def test_the_environment_names_the_library(
    cli: Any, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAP_MUSICGEN_LIBRARY", str(library))
    assert cli("info", "--json").json()["library"]["tracks"] == 3
    absent = cli("info", "--json", "--library", tmp_path / "none")
    assert absent.json()["library"] is None
    monkeypatch.delenv("CLAP_MUSICGEN_LIBRARY")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    if sys.platform == "linux":
        assert_user_error(cli("search", "x"), str(tmp_path / "data/clap-musicgen/library"))


# search and similar


def test_search_gives_json_for_programs(cli: Any, music: Path, library: Path) -> None:
    result = cli("search", "calm piano", "--library", library, "--json")
    assert result.code == 0
    assert result.err == ""
    matches = result.json()
    assert {match["path"] for match in matches} == {str(path) for path in music.iterdir()}
    assert [match["score"] for match in matches] == sorted(
        (match["score"] for match in matches), reverse=True
    )
    song = next(match for match in matches if match["artist"])
    assert (song["title"], song["artist"], song["duration"]) == ("Song 1", "Nina", 2.0)
    assert (song["start"], song["end"], song["problem"]) == (0.0, 2.0, "")


def test_search_gives_a_table_for_people(cli: Any, music: Path, library: Path) -> None:
    result = cli("search", "calm piano", "--library", library)
    assert "\x1b" not in result.out
    header, *rows = lines_of(result.out)
    assert header.split() == ["title", "artist", "score", "segment", "path"]
    assert len(rows) == 3
    assert all("0:00–0:02" in row for row in rows)
    assert any(row.endswith(str(music / "two.flac")) for row in rows)
    assert any(row.endswith(str(music) + r"/[red]three\n.mp3") for row in rows)
    assert any("Song 1" in row and "Nina" in row for row in rows)


def test_search_takes_sounds_minus_words_and_filters(cli: Any, music: Path, library: Path) -> None:
    options = ["--library", library, "--json"]
    best = cli("search", "--like", music / "two.flac", "-k", "1", *options).json()
    assert [match["path"] for match in best] == [str(music / "two.flac")]
    assert best[0]["score"] == pytest.approx(1.0, abs=1e-4)
    mixed = cli(
        "search", "piano", "--like", music / "one.wav", "--without", "drums", "--where",
        "artist = 'Nina'", *options,
    )  # fmt: skip
    assert [match["artist"] for match in mixed.json()] == ["Nina"]
    nothing = cli("search", "piano", "--where", "artist = 'Nobody'", "--library", library)
    assert nothing == Result(
        0, "", "no matches: the library is empty, or no track passes the filters\n"
    )
    wrong = cli("search", "piano", "--where", "bogus = 1", "--library", library)
    assert_user_error(wrong, "bogus")
    missing = cli("search", "--like", music / "none.mp3", "--library", library)
    assert_user_error(missing, "none.mp3")


def test_similar_takes_tracks_and_other_files(
    cli: Any, music: Path, library: Path, tmp_path: Path
) -> None:
    options = ["--library", library, "--json"]
    own = cli("similar", music / "two.flac", *options).json()
    assert str(music / "two.flac") not in {match["path"] for match in own}
    assert len(own) == 2
    sound = melody(2.0, sample_rate=RATE, seed=0)
    copy = write_audio(tmp_path / "copy.flac", sound, sample_rate=RATE)
    other = cli("similar", copy, "-k", "2", *options).json()
    assert other[0]["path"] == str(music / "one.wav")
    text = tmp_path / "text.mp3"
    text.write_text("no music")
    assert_user_error(cli("similar", text, *options), "the content is not audio")


def test_a_library_of_another_model_is_refused(cli: Any, library: Path, tmp_path: Path) -> None:
    mini = Path(clap_musicgen.__file__).parent / "mini"
    other = tmp_path / "other"
    other.mkdir()
    for part in mini.iterdir():
        if part.is_file():
            (other / part.name).write_bytes(part.read_bytes())
    config = json.loads((other / "config.json").read_text())
    config["clip_seconds"] = config["clip_seconds"] / 2
    (other / "config.json").write_text(json.dumps(config))
    result = cli("search", "jazz", "--library", library, "--model", other)
    assert_user_error(result, "model")
    facts = cli("info", "--library", library, "--model", other, "--json").json()
    assert facts["library_fits_model"] is False


# classify, embed, info


def test_classify_ranks_labels(cli: Any, music: Path) -> None:
    labels = ["jazz", "heavy metal", "ambient"]
    result = cli("classify", music / "one.wav", music / "two.flac", "--labels", *labels, "--json")
    ranked = result.json()
    assert [entry["path"] for entry in ranked] == [
        str(music / "one.wav"),
        str(music / "two.flac"),
    ]
    for entry in ranked:
        assert sorted(place["label"] for place in entry["labels"]) == sorted(labels)
        cosines = [place["cosine"] for place in entry["labels"]]
        assert cosines == sorted(cosines, reverse=True)
        weights = np.exp(np.array(cosines) / 0.1)
        shares = [place["share"] for place in entry["labels"]]
        np.testing.assert_allclose(shares, weights / weights.sum(), atol=1e-4)
    table = cli("classify", "--labels", *labels, "--", music / "one.wav").out
    assert "softmax of cosine / 0.1" in table
    assert all(label in table for label in labels)


def test_classify_goes_on_after_a_bad_file(cli: Any, music: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.wav"
    arguments = ["--labels", "jazz", "rock", "--json"]
    result = cli("classify", missing, music / "one.wav", *arguments)
    assert result.code == 1
    assert [entry["path"] for entry in result.json()] == [str(music / "one.wav")]
    assert len(lines_of(result.err)) == 1
    assert "no such file" in result.err


def test_embed_writes_each_format_alike(cli: Any, music: Path, tmp_path: Path) -> None:
    files = [music / "two.flac", music / "one.wav"]
    tables = {}
    for suffix in (".npy", ".jsonl", ".parquet"):
        out = tmp_path / f"vectors{suffix}"
        result = cli("embed", *files, "--text", "dark metal", "--text", "jazz ü", "--out", out)
        assert result.code == 0
        assert result.out == f"4 vectors of 256 numbers in {out}\n"
        tables[suffix] = out
    vectors = np.load(tables[".npy"])
    assert vectors.shape == (4, 256)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    rows = [json.loads(line) for line in tables[".jsonl"].read_text().splitlines()]
    assert [row.get("path", row.get("text")) for row in rows] == [
        *map(str, files),
        "dark metal",
        "jazz ü",
    ]
    np.testing.assert_allclose([row["embedding"] for row in rows], vectors, atol=1e-6)
    table = parquet.read_table(tables[".parquet"]).to_pydict()
    assert table["path"] == [*map(str, files), None, None]
    assert table["text"] == [None, None, "dark metal", "jazz ü"]
    np.testing.assert_allclose(table["embedding"], vectors, atol=1e-6)
    assert sorted(tmp_path.iterdir()) == sorted(tables.values())


def test_embed_opens_folders_and_reports_bad_files(cli: Any, music: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp3"
    bad.write_text("no music")
    out = tmp_path / "vectors.jsonl"
    result = cli("embed", music, bad, "--out", out, "--json")
    assert result.code == 1
    reason = {"path": str(bad), "reason": "the content is not audio"}
    assert result.json() == {"out": str(out), "vectors": 3, "dim": 256, "failed": [reason]}
    assert len(out.read_text().splitlines()) == 3
    array = tmp_path / "vectors.npy"
    refused = cli("embed", music, bad, "--out", array)
    assert refused.code == 1
    assert "rows of 'vectors.npy' have no names" in refused.err
    assert not array.exists()


def test_info_tells_of_library_and_model(cli: Any, library: Path) -> None:
    facts = cli("info", "--library", library, "--json").json()
    assert facts["library"]["path"] == str(library)
    assert facts["library"]["tracks"] == facts["library"]["clips"] == 3
    assert facts["library_fits_model"] is True
    assert facts["model"]["sample_rate"] == RATE
    text = cli("info", "--library", library)
    assert "tracks        3" in text.out
    absent = cli("info", "--library", library / "none")
    assert absent.code == 0
    assert "clap-musicgen index FOLDER" in absent.out


# The terminal


@given(st.text())
def test_whatever_is_shown_stays_on_its_line(text: str) -> None:
    shown = safe(text)
    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 音楽 🎵", "plain ü 音楽 🎵"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("caf\udce9", r"caf\udce9"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("[red]bold[/red]", "[red]bold[/red]"),
        (Path("/a/b"), "/a/b"),
    ],
)
def test_safe(text: object, shown: str) -> None:
    assert safe(text) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (9.99, "0:10"), (59.4, "0:59"), (61, "1:01"), (3599, "59:59"), (3600, "1:00:00")],
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def environment(**more: str) -> dict[str, str]:
    source = str(Path(clap_musicgen.__file__).parents[1])
    return os.environ | {"PYTHONPATH": source, "TERM": "xterm", "OMP_NUM_THREADS": "1"} | more


def in_a_terminal(arguments: list[str], *, columns: int) -> tuple[int, str]:
    """Run the program in a pseudo-terminal of that width → exit code, what was shown last."""
    import fcntl
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    clean = {name: value for name, value in environment().items() if name != "COLUMNS"}
    process = subprocess.Popen(PROGRAM + arguments, stdout=follower, stderr=follower, env=clean)
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # Linux says so that the other end is closed
        while block := os.read(leader, 65_536):
            shown += block
    os.close(leader)
    return process.wait(), shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_table_fits_a_terminal_of_80_columns(library: Path) -> None:
    import re

    code, shown = in_a_terminal(["search", "piano", "--library", str(library)], columns=80)
    assert code == 0
    assert "\x1b[1m" in shown  # bold: here colours are right
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n").splitlines()
    rows = [line for line in plain if "0:00–0:02" in line]
    assert len(rows) == 3
    assert all(len(row) <= 80 for row in rows)
    assert any(row.rstrip().endswith(r"[red]three\n.mp3") for row in rows)


def test_a_reader_that_stops_early_is_no_error() -> None:
    with subprocess.Popen(
        [*PROGRAM, "--version"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_a_terminal_without_unicode_is_enough() -> None:
    script = (
        "from clap_musicgen.cli import run; from clap_musicgen.cli.show import emit_table\n"
        "run(['--version']); emit_table(['>segment', 'path'], [['0:00–0:02', '/ü/音.mp3']])"
    )
    poor = environment(PYTHONIOENCODING="ascii")
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, env=poor, check=True)
    assert b"0:00\\u20130:02" in result.stdout
    assert b"/\\xfc/\\u97f3.mp3" in result.stdout


@pytest.fixture
def long_music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    for place in range(24):
        samples = np.random.default_rng(place).normal(size=8_000).astype(np.float32) / 10
        write_wav(folder / f"{place:02}.wav", samples, sample_rate=8_000)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_ctrl_c_keeps_what_is_done_and_a_rerun_resumes(
    cli: Any, long_music: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    command = [*PROGRAM, "index", str(long_music), "--library", str(library)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    ) as process:
        deadline = time.monotonic() + 300
        while process.poll() is None and not any(library.glob("tracks.lance/data/*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    kept, interrupted = lines_of(err)
    assert interrupted == "interrupted"
    count = int(kept.split()[0])
    assert 0 < count < 24
    assert "run the same command again to go on" in kept
    report = cli("index", long_music, "--library", library, "--json").json()
    assert len(report["unchanged"]) == count
    assert len(report["added"]) == 24 - count
