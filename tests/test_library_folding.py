"""Text without case and accents."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_musicgen.library.folding import fold, folded_pattern, literal_pattern

letters = st.text(
    st.sampled_from("aAáÁàâäåÅ\u212b eEéÉêë nNñ oOöøØőÖ ıİiI ßẞ ςσΣά кйЙ がかガ 한글 \u0301\u0308\u3099 .*'\"\\[](){}|^$\n-"),
    max_size=12,
)  # fmt: skip


def python(pattern: str) -> re.Pattern[str]:
    """Spell the code points of an expression as Python does."""

    def spelled(match: re.Match[str]) -> str:
        return rf"\U{int(match[1], 16):08X}"

    return re.compile(re.sub(r"\\x\{([0-9A-F]+)\}", spelled, pattern))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Beyoncé", "beyonce"),
        ("BEYONCÉ", "beyonce\u0301"),
        ("Motörhead", "MOTORHEAD"),
        ("Røyksopp", "royksopp"),
        ("Łódź", "lodz"),
        ("Ángström", "\u212bngstrom"),
        ("ΟΔΟΣ", "οδος"),
        ("İstanbul", "istanbul"),
        ("한국", unicodedata.normalize("NFD", "한국")),
        ("が", unicodedata.normalize("NFD", "が")),
    ],
)
def test_what_is_the_same(one: str, other: str) -> None:
    assert fold(one) == fold(other)
    assert python(folded_pattern(one)).fullmatch(other)
    assert python(folded_pattern(other)).fullmatch(one)


@pytest.mark.parametrize(
    ("one", "other"), [("が", "か"), ("ß", "s"), ("a b", "ab"), ("a.c", "abc")]
)
def test_what_is_not(one: str, other: str) -> None:
    assert fold(one) != fold(other)
    assert not python(folded_pattern(one)).fullmatch(other)


@given(st.text(max_size=20))
def test_folding_twice_changes_nothing_nor_does_composition(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold(unicodedata.normalize("NFC", text)) == fold(text)


@given(letters, letters)
def test_the_pattern_is_the_equality_of_folded_texts(one: str, other: str) -> None:
    composed = unicodedata.normalize("NFC", other)
    assert bool(python(folded_pattern(one)).fullmatch(composed)) == (fold(one) == fold(composed))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_pattern_has_nothing_to_escape_and_matches_its_text(text: str) -> None:
    assert python(literal_pattern(text)).fullmatch(text)
    assert python(folded_pattern(text)).fullmatch(unicodedata.normalize("NFC", text))
    for pattern in (literal_pattern(text), folded_pattern(text)):
        assert re.fullmatch(r"[\\x{}0-9A-F\[\]()?:|*-]*", pattern)
