"""The rows of the table of `library_size.py`. Knows only how its results are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def cell(form: str, of: Callable[[dict[str, Any]], float], found: dict[str, Any]) -> str:
    try:
        return form.format(of(found))
    except KeyError:
        return "–"


ROWS: tuple[tuple[str, str, Callable[[dict[str, Any]], float]], ...] = (
    ("build: write and index (s)", "{:.1f}", lambda f: f["build"]["write_s"]),
    ("build: peak memory (MB)", "{:.0f}", lambda f: f["build"]["peak_mb"]),
    ("on disk (MB)", "{:.0f}", lambda f: f["build"]["bytes"] / 1e6),
    ("of it the index (MB)", "{:.0f}", lambda f: f["build"]["index_bytes"] / 1e6),
    ("open (s)", "{:.2f}", lambda f: f["search"]["open_s"]),
    ("open and read the tracks (s)", "{:.2f}", lambda f: f["search"]["load_s"]),
    ("open to first answer (s)", "{:.2f}", lambda f: f["search"]["first_s"]),
    ("search tracks p50 (ms)", "{:.1f}", lambda f: f["search"]["tracks_ms"]["p50"]),
    ("search tracks p95 (ms)", "{:.1f}", lambda f: f["search"]["tracks_ms"]["p95"]),
    ("search clips, first (ms)", "{:.0f}", lambda f: f["search"]["clips_ms"]["first"]),
    ("search clips p50 (ms)", "{:.1f}", lambda f: f["search"]["clips_ms"]["p50"]),
    ("search clips p95 (ms)", "{:.1f}", lambda f: f["search"]["clips_ms"]["p95"]),
    ("recall@10 of tracks", "{:.4f}", lambda f: f["exact"]["tracks_recall"]),
    ("recall@10 of clips", "{:.4f}", lambda f: f["exact"]["clips_recall"]),
    ("recall@10 of half precision alone", "{:.4f}", lambda f: f["exact"]["half_recall"]),
    ("memory after searching tracks (MB)", "{:.0f}", lambda f: f["search"]["tracks_mb"]),
    ("memory after searching clips too (MB)", "{:.0f}", lambda f: f["search"]["all_mb"]),
    ("add 1,000 tracks to an empty library (s)", "{:.2f}", lambda f: f["add"]["empty"]),
    ("add 1,000 tracks to this one (s)", "{:.2f}", lambda f: f["add"]["large"]),
    ("faiss flat: p50 (ms)", "{:.1f}", lambda f: f["exact"]["flat_ms"]["p50"]),
    ("faiss flat: p95 (ms)", "{:.1f}", lambda f: f["exact"]["flat_ms"]["p95"]),
    ("faiss HNSW: build (s)", "{:.1f}", lambda f: f["hnsw"]["build_s"]),
    ("faiss HNSW: p50 (ms)", "{:.1f}", lambda f: f["hnsw"]["ms"]["p50"]),
    ("faiss HNSW: p95 (ms)", "{:.1f}", lambda f: f["hnsw"]["ms"]["p95"]),
    ("faiss HNSW: recall@10", "{:.4f}", lambda f: f["hnsw"]["recall"]),
    ("faiss HNSW: memory (MB)", "{:.0f}", lambda f: f["hnsw"]["rss_mb"]),
)
