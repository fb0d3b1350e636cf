"""ModelConfig: validation, and the round trip through config.json."""

from __future__ import annotations

import json

import pytest

from clap_musicgen.errors import CheckpointError, InputError
from clap_musicgen.model.config import ModelConfig
from conftest import tiny_config


def test_round_trip() -> None:
    config = tiny_config(layers=(1, 2))
    assert ModelConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clip_seconds", 0),
        ("clip_seconds", 61),
        ("loudness", "loud"),
        ("pooling", "max"),
        ("combine", "sum"),
        ("positions", "rotary"),
        ("layers", ()),
        ("layers", (4,)),
        ("layers", (-1,)),
        ("max_tokens", 3),
        ("dim", 0),
        ("projection_hidden", 0),
    ],
)
def test_a_bad_value_names_its_field(field: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"ModelConfig\.{field} is"):
        tiny_config(**{field: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format_version 99"),
        ({"colour": "red"}, r"unknown fields \['colour'\]"),
        ({"pooling": "max"}, "pooling"),
    ],
)
def test_a_strange_file_is_refused(change: dict[str, object], message: str) -> None:
    values = {**json.loads(tiny_config().to_json()), **change}
    with pytest.raises(CheckpointError, match=message):
        ModelConfig.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[1]", "{}", "{"])
def test_not_a_config_at_all(text: str) -> None:
    with pytest.raises(CheckpointError):
        ModelConfig.from_json(text)
