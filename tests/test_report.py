"""Tables of results: every figure arrives, in Markdown and in JSON."""

from __future__ import annotations

import json

from clap_musicgen.evaluation.report import tables, to_json, to_markdown
from clap_musicgen.evaluation.retrieval import Figure, Result

MRR = Figure("MRR", 0.51234, 0.2, 0.31, 0.7, 12)
RANK = Figure("median rank", 3.0, 9.5, 2.0, 12.0, 12, lower_is_better=True)
LONELY = Figure("MRR", 1.0, 0.5, float("nan"), float("nan"), 1)
RESULTS = {
    "overall": [Result("text→music", 12, 30, (MRR, RANK)), Result("music→music", 0, 0, ())],
    "a|b": [Result("text→music", 1, 2, (LONELY,))],
}


def test_one_table_per_task_with_a_row_per_set() -> None:
    first, second = tables(RESULTS)
    assert (first.task, first.metrics) == ("text→music", ("MRR", "median rank"))
    assert [row.name for row in first.rows] == ["overall", "a|b"]
    assert first.rows[1].figures == (LONELY, None)
    assert (second.task, second.metrics, second.rows[0].queries) == ("music→music", (), 0)


def test_markdown_shows_value_interval_and_chance() -> None:
    text = to_markdown(RESULTS, title="mini")
    assert text.startswith("# mini\n")
    assert "| overall | 12 | 30 | **0.512** [0.310, 0.700] 0.200 | 3.0 [2.0, 12.0] 9.5 |" in text
    assert r"| a\|b | 1 | 2 | 1.000 [—, —] 0.500 | — |" in text
    body = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.replace(r"\|", "").count("|") for line in body[:4]}) == 1


def test_json_holds_every_number_and_null_for_a_missing_bound() -> None:
    whole = json.loads(to_json(RESULTS, about={"model": "mini"}))
    assert whole["about"] == {"model": "mini"}
    metric = whole["results"]["overall"]["text→music"]["metrics"]["MRR"]
    assert metric == {
        "value": 0.51234,
        "chance": 0.2,
        "low": 0.31,
        "high": 0.7,
        "n": 12,
        "beats_chance": True,
    }
    assert whole["results"]["a|b"]["text→music"]["metrics"]["MRR"]["low"] is None
    assert whole["results"]["overall"]["music→music"]["metrics"] == {}
