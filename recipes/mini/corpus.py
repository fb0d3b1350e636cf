"""Select, split and describe what mini may learn from: items.jsonl and texts.jsonl.

    python recipes/mini/corpus.py --shared /path/to/shared --out corpus

`items.jsonl` has one line per MIDI file and per real piece, with its labels in plain words;
`texts.jsonl` has every text the text tower may read. Only material whose licence lets anybody use
the weights is taken, and a group (a groove file, a drummer's session, a tune, a composer) never
lies on two sides. This module knows nothing about audio.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from captions import Labels, compose, sentences
from instruments import word_of_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIDI_SOURCES = frozenset({"mma", "groove", "nottingham", "mutopia", "freedoom", "tuxemon"})
# Chosen among ten so that the few large groups (drummers, composers) fall about 90/5/5 too.
_SALT = "9:"
EXCLUDED_SETS = frozenset({"ace_step", "human_game_gpl"})
TEXT_FILES = (
    "musiccaps_captions",
    "musiccaps_aspects",
    "incompetech_descriptions",
    "incompetech_tags",
    "freemusicc_styles",
    "wikipedia_genres",
)
TAG_LIST_FILES = frozenset({"musiccaps_aspects", "incompetech_tags", "freemusicc_styles"})
# Keys of these sources were judged by ear or follow from how the file was made; the others carry
# the "C major" that sequencers write when nobody set a key.
KEYED_SOURCES = frozenset({"mma", "nottingham"})
_GENRE_WORDS: dict[str, list[str]] = {
    "swing / big band": ["swing", "big band"],
    "soul / r&b": ["soul", "r&b"],
    "other": [],
    "hiphop": ["hip hop"],
    "neworleans": ["new orleans"],
    "purdieshuffle": ["purdie shuffle"],
    "brazilian-baiao": ["baião"],
    "brazilian-frevo": ["frevo"],
    "brazilian-samba": ["samba"],
    "brazilian-sambareggae": ["samba reggae"],
    "brazilian-ijexa": ["ijexá"],
    "secondline": ["second line"],
    "folk": ["folk"],
    "technique": ["etude", "classical"],
    "song": ["art song"],
    "modern": ["modern classical"],
    "romantic": ["romantic", "classical"],
    "baroque": ["baroque", "classical"],
    "renaissance": ["renaissance", "early music"],
    "popular / dance": ["dance tune"],
    "hymn": ["hymn"],
    "jrpg": ["jrpg"],
    "english folk tune": ["english folk"],
    "playford english country dance": ["english country dance"],
    "rock / metal (first-person shooter score; not per-file verified)": [],
}


class Item(TypedDict):
    """One line of items.jsonl. `file` is relative to `midi/` or `music/` of the shared data."""

    id: str
    kind: str  # "midi" or "music"
    source: str
    file: str
    group: str
    split: str
    duration: float
    labels: Labels
    licence: str
    artist: str


def split_of(group: str) -> str:
    """train, val or test (90/5/5) from a fixed hash of the group's name."""
    bucket = int.from_bytes(hashlib.blake2b((_SALT + group).encode(), digest_size=8).digest()) % 100
    return "train" if bucket < 90 else "val" if bucket < 95 else "test"


def as_list(value: object) -> list[str]:
    """A label field as a list, whether it is one, is a string that looks like one, or is absent."""
    if isinstance(value, str):
        value = ast.literal_eval(value) if value.startswith("[") else [value]
    return [str(v).strip() for v in value if str(v).strip()] if isinstance(value, list) else []


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file, in order."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def genre_words(names: Iterable[str]) -> list[str]:
    """Genre names of the manifest as people write them: lower case, one idea per word."""
    words = [w for name in names for w in _GENRE_WORDS.get(name.lower(), [name.lower()])]
    return list(dict.fromkeys(words))


def _context_words(row: dict[str, Any]) -> list[str]:
    """What a game track is for, from its file name: "winBattleBoss" becomes "win battle boss"."""
    if row["source"] != "tuxemon" or ", " not in row["caption"]:
        return []
    name = str(row["caption"]).split(", ")[-1]
    return [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()]


def midi_labels(row: dict[str, Any]) -> Labels:
    """The labels of one MIDI row in plain words; absent facts stay absent."""
    labels: Labels = {
        "genre": genre_words(as_list(row.get("genre"))),
        "instruments": list(
            dict.fromkeys(word_of_name(n) for n in as_list(row.get("gm_instruments")))
        ),
        "complete": True,
    }
    labels["context"] = _context_words(row)
    if row.get("tempo_bpm"):
        labels["tempo_bpm"] = float(row["tempo_bpm"])
    if row.get("time_signature"):
        labels["time_signature"] = str(row["time_signature"])
    if row["source"] in KEYED_SOURCES and row.get("key"):
        labels["key"] = str(row["key"]).replace("Major", "major")
    if row.get("beat_type"):
        labels["drum_part"] = str(row["beat_type"])
    return labels


def train_titles(music_manifest: Path) -> set[str]:
    """Titles of the real pieces that may be learned from."""
    rows = read_lines(music_manifest)
    return {row["title"] for row in rows if row["split"] == "train" and row["redistributable"]}


def midi_items(manifest: Path, *, titles: set[str]) -> Iterator[Item]:
    """Items of the allowed MIDI sources; rows of unclear licence are left out.

    Tuxemon's MIDI files are the scores of game music whose recordings serve as test music: only
    those whose recording is itself in the train split (`titles`) are taken.
    """
    for row in read_lines(manifest):
        if row["source"] not in MIDI_SOURCES or str(row["licence"]).startswith("unclear"):
            continue
        if row["source"] == "tuxemon" and row["title"] not in titles:
            continue
        group = str(row["group"])
        yield {
            "id": Path(row["file"]).with_suffix("").as_posix(),
            "kind": "midi",
            "source": row["source"],
            "file": row["file"],
            "group": group,
            "split": "train" if row["source"] == "tuxemon" else split_of(group),
            "duration": float(row["duration"]),
            "labels": midi_labels(row),
            "licence": row["licence"],
            "artist": row["artist"],
        }


def music_labels(row: dict[str, Any]) -> Labels:
    """The labels of a real piece. Nothing says that its instruments are all named."""
    return {
        "genre": [g.lower() for g in as_list(row.get("genre"))],
        "instruments": [i.lower() for i in as_list(row.get("instrument"))],
        "context": [m.lower() for m in as_list(row.get("mood"))],
        "caption": str(row["caption"]),
        "set": str(row["set"]),
        "complete": False,
    }


def music_items(manifest: Path) -> Iterator[Item]:
    """Redistributable real pieces of train and val; test is never touched."""
    for row in read_lines(manifest):
        if row["split"] not in ("train", "val") or row["set"] in EXCLUDED_SETS:
            continue
        if row["redistributable"] is not True:
            continue
        yield {
            "id": f"music/{row['id']}",
            "kind": "music",
            "source": "music",
            "file": row["audio"],
            "group": f"music:{row['caption'].lower()}",
            "split": row["split"],
            "duration": float(row["duration"]),
            "labels": music_labels(row),
            "licence": row["licence"],
            "artist": row["artist"],
        }


def pieces(text: str, file: str) -> list[str]:
    """A text of the corpus and its parts: sentences of a paragraph, single tags of a list."""
    if file in TAG_LIST_FILES:
        return [text, *(tag.strip() for tag in text.split(","))]
    return [text, *sentences(text)]


def corpus_texts(folder: Path) -> Iterator[tuple[str, str]]:
    """(text, source) of every allowed text file, whole and in parts."""
    for file in TEXT_FILES:
        for row in read_lines(folder / f"{file}.jsonl"):
            for text in pieces(str(row["text"]).strip(), file):
                yield text, file


def composed_texts(items: list[Item], count: int, seed: int) -> Iterator[tuple[str, str]]:
    """`count` captions composed from the labels of train items, the items taken in turn."""
    rng = random.Random(seed)
    train = [item for item in items if item["split"] == "train"]
    for index in range(count):
        yield compose(train[index % len(train)]["labels"], rng), "composed"


def held_out_captions(manifest: Path) -> set[str]:
    """Captions of val and test pieces, lower case: they must not become training text."""
    rows = read_lines(manifest)
    return {r["caption"].strip().lower() for r in rows if r["split"] != "train"}


def unique_texts(
    texts: Iterable[tuple[str, str]], *, without: set[str]
) -> Iterator[dict[str, str]]:
    """Each text once, the empty and the held-out ones dropped."""
    seen = {""} | without
    for text, source in texts:
        if text.lower() not in seen:
            seen.add(text.lower())
            yield {"text": text, "source": source}


def write_lines(path: Path, rows: Iterable[object]) -> int:
    """Write a JSONL file atomically; returns the number of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    count = 0
    with part.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    part.replace(path)
    return count


def build(shared: Path, out: Path, *, composed: int, seed: int) -> None:
    """Write items.jsonl and texts.jsonl under `out` and print what they hold."""
    music = shared / "music" / "manifest.jsonl"
    midi = midi_items(shared / "midi" / "manifest.jsonl", titles=train_titles(music))
    items = [*midi, *music_items(music)]
    write_lines(out / "items.jsonl", items)
    counts = Counter((item["source"], item["split"]) for item in items)
    for (source, split), count in sorted(counts.items()):
        print(f"{source:24s} {split:6s} {count:6d}")
    texts = [*corpus_texts(shared / "text"), *composed_texts(items, composed, seed)]
    count = write_lines(out / "texts.jsonl", unique_texts(texts, without=held_out_captions(music)))
    print(f"{len(items)} items, {count} texts in {out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--shared", type=Path, required=True, help="folder with midi, music, text")
    parser.add_argument("--out", type=Path, default=Path("corpus"))
    parser.add_argument("--composed", type=int, default=50_000, help="captions to compose")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    build(args.shared, args.out, composed=args.composed, seed=args.seed)


if __name__ == "__main__":
    main()
