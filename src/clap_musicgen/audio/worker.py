"""The child process of the pool: reads paths from its input, writes clips to its output.

Started by `pool.py` as a program of its own, so that it imports neither the caller's main module
nor a deep-learning framework, and a decoder that crashes takes nothing else with it. Messages are
plain data (JSON and samples), so that a decoder subverted by a malicious file cannot make the
parent run anything. Knows nothing of the parent but the two pipes.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from clap_musicgen.audio.clips import split_clips
from clap_musicgen.audio.files import AudioStream
from clap_musicgen.errors import AudioError

if TYPE_CHECKING:
    from clap_musicgen.embedding import Waveform

_LENGTH = struct.Struct("<I")
_SILENCE = np.zeros(0, dtype=np.float32)


def write_message(pipe: BinaryIO, message: dict[str, Any], waveform: Waveform = _SILENCE) -> None:
    """Write one message and the (T,) samples that belong to it."""
    head = json.dumps(message | {"samples": len(waveform)}).encode()
    pipe.write(_LENGTH.pack(len(head)) + head)
    pipe.write(np.ascontiguousarray(waveform, dtype="<f4").tobytes())
    pipe.flush()


def read_message(pipe: BinaryIO) -> tuple[dict[str, Any], Waveform] | None:
    """Read what `write_message` wrote; None where the pipe ends, even within a message."""
    length = pipe.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    head = pipe.read(_LENGTH.unpack(length)[0])
    if len(head) < _LENGTH.unpack(length)[0]:
        return None
    message: dict[str, Any] = json.loads(head)
    data = pipe.read(4 * message["samples"])
    if len(data) < 4 * message["samples"]:
        return None
    return message, np.frombuffer(data, dtype="<f4").astype(np.float32)


def serve(requests: BinaryIO, answers: BinaryIO, *, sample_rate: int, clip_seconds: float) -> None:
    """Decode each requested path (one JSON string a line) until the requests end."""
    write_message(answers, {"event": "ready"})
    for line in requests:
        stream = AudioStream(json.loads(line), sample_rate=sample_rate)
        try:
            for clip in split_clips(stream, sample_rate=sample_rate, clip_seconds=clip_seconds):
                place = {"event": "clip", "start": clip.start, "end": clip.end}
                write_message(answers, place, clip.waveform)
        except AudioError as error:
            kind = type(error).__name__
            write_message(answers, {"event": "failed", "reason": error.reason, "kind": kind})
        else:
            end = {"event": "finished", "duration": stream.duration, "problem": stream.problem}
            write_message(answers, end)


def bounded(memory: int) -> None:
    """Let this process take no more than so many bytes, where the system has such a bound."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def main() -> None:
    """Serve on the standard streams.

    Arguments: sample rate in Hz, clip length in seconds, and perhaps the memory it may take.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that nothing else can write between the messages
    sample_rate, clip_seconds = int(sys.argv[1]), float(sys.argv[2])
    if len(sys.argv) > 3:
        bounded(int(sys.argv[3]))
    try:
        serve(sys.stdin.buffer, answers, sample_rate=sample_rate, clip_seconds=clip_seconds)
        answers.close()
    except BrokenPipeError:  # the parent is gone, and with it the reason to go on
        os._exit(0)
