"""Decode the real music of a corpus to 32 kHz mono windows beside the rendered ones.

    python recipes/mini/decode_music.py --items corpus/items.jsonl --music MUSIC --out corpus/audio

Every piece is kept whole, in windows of at most 30 s one after another, in `shard_music.i16`;
`index_music.jsonl` has the same fields as render.py's index. The files are Ogg Vorbis, so the small
soundfile and soxr suffice. A rerun starts over: it takes under a minute.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import soxr
from render import SAMPLE_RATE, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

WINDOW_SECONDS = 30.0
SHORT_TAIL_SECONDS = 3.0  # a shorter rest stays with the window before it
SHARD = "shard_music.i16"


def decode(path: Path) -> NDArray[np.float32]:
    """Mono waveform (T,) at 32 kHz: the mean of the channels, resampled by soxr HQ."""
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(sound.mean(axis=1), rate, SAMPLE_RATE), dtype=np.float32)


def windows(samples: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive windows that cover all samples."""
    step, tail = round(WINDOW_SECONDS * SAMPLE_RATE), round(SHORT_TAIL_SECONDS * SAMPLE_RATE)
    start = 0
    while start < samples:
        stop = start + step
        if samples - stop < tail:
            stop = samples
        yield start, stop
        start = stop


def rows_of(item: dict[str, Any], samples: int, offset: int) -> Iterator[dict[str, Any]]:
    """The index lines of one piece whose samples begin at `offset` of the shard."""
    for variant, (start, stop) in enumerate(windows(samples)):
        yield {
            "item": item["id"],
            "variant": variant,
            "shard": SHARD,
            "offset": offset + start,
            "samples": stop - start,
            "seconds": round((stop - start) / SAMPLE_RATE, 3),
            "labels": item["labels"],
            "caption": item["labels"]["caption"],
            "split": item["split"],
            "group": item["group"],
            "source": item["source"],
        }


def decode_all(items: list[dict[str, Any]], music: Path, out: Path) -> tuple[int, float]:
    """Write the shard and its index; returns the number of windows and the hours."""
    rows: list[dict[str, Any]] = []
    offset = 0
    with (out / SHARD).open("wb") as shard:
        for item in items:
            waveform = decode(music / item["file"])
            shard.write(np.round(np.clip(waveform, -1, 1) * 32767.0).astype("<i2").tobytes())
            rows.extend(rows_of(item, waveform.size, offset))
            offset += waveform.size
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    part = out / "index_music.part"
    part.write_text(text, encoding="utf-8")
    part.replace(out / "index_music.jsonl")
    return len(rows), offset / SAMPLE_RATE / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--items", type=Path, required=True, help="items.jsonl of corpus.py")
    parser.add_argument("--music", type=Path, required=True, help="folder of the real music")
    parser.add_argument("--out", type=Path, default=Path("corpus/audio"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    items = [item for item in read_rows(args.items) if item["kind"] == "music"]
    count, hours = decode_all(items, args.music, args.out)
    print(f"{len(items)} pieces, {count} windows, {hours:.2f} h")


if __name__ == "__main__":
    main()
