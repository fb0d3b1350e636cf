"""Adding by a crew of workers: the same library as without, in whatever order answers come."""

from __future__ import annotations

import random
import shutil
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from clap_musicgen.audio.pool import Failed
from clap_musicgen.errors import InputError
from clap_musicgen.library import Library, Report
from clap_musicgen.library.adding import Adding
from clap_musicgen.library.folder import writing
from clap_musicgen.library.settling import Settling
from clap_musicgen.library.spreading import Answer, Job, Spreading
from clap_musicgen.library.store import Store
from clap_musicgen.library.working import Seen, Worker
from fake_embedder import FakeEmbedder
from library_music import everything, touch, write_tone, write_tones

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


class OneByOne:
    """A crew of one worker in this process; answers a task, chosen by lot, whenever it is asked."""

    def __init__(self, model: FakeEmbedder, *, seed: int, room: int = 4) -> None:
        self._worker = Worker(None, model)
        self._worker.hello()
        self._tasks: deque[tuple[Job, list[Path]]] = deque()
        self._dice, self._room = random.Random(seed), room
        self.most_waiting = 0
        self.on_embed: Callable[[], None] = lambda: None

    @property
    def busy(self) -> bool:
        return bool(self._tasks)

    def has_room(self) -> bool:
        return len(self._tasks) < self._room

    def hand_out(self, job: Job, files: Sequence[Path]) -> None:
        self._tasks.append((job, list(files)))
        self.most_waiting = max(self.most_waiting, len(self._tasks))

    def answers(self, *, timeout: float) -> list[Answer]:  # noqa: ARG002 - it never waits
        self._tasks.rotate(self._dice.randrange(len(self._tasks)))
        job, files = self._tasks.popleft()
        if job == "look":
            return list(self._worker.look(files))
        found = self._worker.embed(files)
        self.on_embed()
        return list(found)

    def close(self) -> None:
        self._worker.close()


@pytest.fixture
def crew() -> Iterator[OneByOne]:
    made = OneByOne(FakeEmbedder(), seed=3)
    yield made
    made.close()


def spread(folder: Path, music: Sequence[Path], crew: OneByOne, *, group: int = 7) -> Report:
    """What `Library.add` does, with this crew."""
    Library.open(folder, FakeEmbedder()).close()
    store = Store(folder, dim=12)
    with writing(folder):
        settling = Settling(store, group_tracks=group, group_seconds=60)
        run = Spreading(settling, crew, workers=2)
        run.add(music)
        return run.report()


def plain(folder: Path, music: Sequence[Path]) -> Report:
    """What one machine does; its seconds may add up in another order."""
    Library.open(folder, FakeEmbedder()).close()
    with writing(folder), Adding(Store(folder, dim=12), FakeEmbedder()) as run:
        run.add(music)
        report = run.report()
        return replace(report, seconds=pytest.approx(report.seconds))  # type: ignore[arg-type]


def odd_music(folder: Path) -> list[Path]:
    """Tones, copies, copies of something that is not audio, an empty place, something absent."""
    paths = write_tones(folder, 40, seconds=0.3)
    paths.append(write_tone(folder / "long.wav", 900, seconds=20))
    for number in (3, 3, 17):
        copy = folder / f"copy {len(paths)}.wav"
        shutil.copy(paths[number], copy)
        paths.append(copy)
    for name in ("bad.mp3", "bad too.mp3"):
        (folder / name).write_bytes(b"not audio")
        paths.append(folder / name)
    return [*paths, folder / "absent.wav"]


@pytest.mark.parametrize("seed", range(3))
def test_the_library_and_the_report_are_those_of_one_machine(tmp_path: Path, seed: int) -> None:
    music = odd_music(tmp_path / "music")
    crew = OneByOne(FakeEmbedder(), seed=seed)
    report = spread(tmp_path / "spread", music, crew)
    crew.close()
    assert report == plain(tmp_path / "plain", music)
    assert (len(report.added), len(report.failed)) == (44, 3)
    assert everything(tmp_path / "spread") == everything(tmp_path / "plain")
    assert crew.most_waiting <= 4

    touch(music[0])
    write_tone(music[1], 3333)
    music[2].rename(tmp_path / "music" / "moved.wav")
    music[2] = tmp_path / "music" / "moved.wav"
    crew = OneByOne(FakeEmbedder(), seed=seed)
    again = spread(tmp_path / "spread", music, crew)
    crew.close()
    assert again == plain(tmp_path / "plain", music)
    assert (len(again.added), again.updated, len(again.unchanged)) == (1, (str(music[1]),), 42)
    assert everything(tmp_path / "spread") == everything(tmp_path / "plain")


def test_a_copy_takes_over_from_a_file_that_changes_while_it_is_read(
    tmp_path: Path, crew: OneByOne
) -> None:
    first = write_tone(tmp_path / "music" / "a.wav", 440)
    second = tmp_path / "music" / "b.wav"
    shutil.copy(first, second)

    def disturb() -> None:
        touch(first)
        crew.on_embed = lambda: None

    crew.on_embed = disturb
    report = spread(tmp_path / "library", [first, second], crew)
    assert report.added == (str(second),)
    assert "changed while it was being read" in dict(report.failed)[str(first)]


def test_what_is_finished_is_committed_when_a_worker_fails_or_ctrl_c_comes(
    tmp_path: Path, crew: OneByOne
) -> None:
    music = write_tones(tmp_path / "music", 20, seconds=0.2)
    calls = iter(range(100))

    def fail() -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt

    crew.on_embed = fail
    with pytest.raises(KeyboardInterrupt):
        spread(tmp_path / "library", music, crew, group=1000)
    assert len(everything(tmp_path / "library")) == 12


def test_nobody_commits_without_the_right_to_write(tmp_path: Path, crew: OneByOne) -> None:
    def refuse() -> None:
        raise InterruptedError("the right is lost")

    Library.open(tmp_path / "library", FakeEmbedder()).close()
    settling = Settling(
        Store(tmp_path / "library", dim=12), group_tracks=2, group_seconds=60, guard=refuse
    )
    with pytest.raises(InterruptedError):
        Spreading(settling, crew, workers=1).add(write_tones(tmp_path / "music", 3, seconds=0.2))
    assert everything(tmp_path / "library") == {}


# The worker itself


def test_a_worker_answers_for_each_file(tmp_path: Path) -> None:
    good = write_tone(tmp_path / "good.wav", 440)
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"not audio")
    worker = Worker(FakeEmbedder, None)
    assert (worker.hello().fingerprint, worker.hello().dim) == ("fake-1", 12)
    seen, _, absent = worker.look([good, bad, tmp_path / "absent.wav"])
    assert isinstance(seen, Seen)
    assert seen.tags.title == "good"
    assert isinstance(absent, Failed)
    assert "workers need the same paths" in absent.reason
    answers = {answer.path: answer for answer in worker.embed([good, bad])}
    assert isinstance(answers[bad], Failed)
    assert not isinstance(answers[good], Failed)
    worker.close()
    with pytest.raises(InputError, match="needs a model"):
        Worker(None, None).hello()
