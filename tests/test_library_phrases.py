"""What a person types becomes phrases."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clap_musicgen.errors import InputError, InputTypeError, LibraryQueryError
from clap_musicgen.library.phrases import MAX_CHARACTERS, MAX_WEIGHT, Phrase, Question, parse


def question(text: str) -> tuple[dict[str, float], dict[str, float]]:
    """Wanted and unwanted phrases with their weights."""
    parsed = parse(text)
    return (
        {phrase.text: phrase.weight for phrase in parsed.wanted},
        {phrase.text: phrase.weight for phrase in parsed.unwanted},
    )


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        # plain words
        ("dark metal", {"dark metal": 1}, {}),
        ("  slow\tjazz \n with piano ", {"slow jazz with piano": 1}, {}),
        ("lo-fi hip-hop", {"lo-fi hip-hop": 1}, {}),
        ("rock 'n' roll, don't stop", {"rock 'n' roll, don't stop": 1}, {}),
        ("jazz - piano – live", {"jazz - piano – live": 1}, {}),
        ('12" mix', {'12" mix': 1}, {}),
        ('7" and 12" singles', {'7" and 12" singles': 1}, {}),
        ('drum"n"bass', {'drum"n"bass': 1}, {}),
        ("-", {"-": 1}, {}),
        ("!!!", {"!!!": 1}, {}),
        ("AC\\DC", {"AC\\DC": 1}, {}),
        ("^_^ x^y jazz^ ^2", {"^_^ x^y jazz^ ^2": 1}, {}),
        ("日本の 歌", {"日本の 歌": 1}, {}),
        # phrases and weights
        ('"church organ"^2 choir', {"choir": 1, "church organ": 2}, {}),
        ('calm "church organ" piano', {"calm piano": 1, "church organ": 1}, {}),
        ("piano^2 slow", {"slow": 1, "piano": 2}, {}),
        ("piano^.5, slow", {"slow": 1, "piano": 0.5}, {}),
        ('"a b"^1e-3 "c"^1000', {"a b": 0.001, "c": 1000}, {}),
        ('"church organ", "choir".', {"church organ": 1, "choir": 1, ".": 1}, {}),
        ("“church organ”^2 „choir”", {"church organ": 2, "choir": 1}, {}),
        (r'"12\" mix" "back\\slash" "AC\DC"', {'12" mix': 1, "back\\slash": 1, "AC\\DC": 1}, {}),
        ('"without -drums^2"', {"without -drums^2": 1}, {}),
        # minus
        ("jazz -vocals", {"jazz": 1}, {"vocals": 1}),
        ('jazz -"drum solo" live', {"jazz live": 1}, {"drum solo": 1}),
        ("jazz -lo-fi --vocals, slow", {"jazz slow": 1}, {"lo-fi": 1, "vocals": 1}),
        ("jazz \N{MINUS SIGN}vocals^2", {"jazz": 1}, {"vocals": 2}),
        ('jazz -"drum solo"^0.5', {"jazz": 1}, {"drum solo": 0.5}),
        ("-vocals", {}, {"vocals": 1}),
        # without
        ("piano without vocals", {"piano": 1}, {"vocals": 1}),
        ("Piano WITHOUT Vocals", {"Piano": 1}, {"Vocals": 1}),
        ("piano without vocals or drums", {"piano": 1}, {"vocals": 1, "drums": 1}),
        ("piano without vocals and drums", {"piano": 1}, {"vocals": 1, "drums": 1}),
        (
            "piano, without any vocals, the drums, or electric bass",
            {"piano": 1},
            {"vocals": 1, "drums": 1, "electric bass": 1},
        ),
        ("pop without drum and bass", {"pop": 1}, {"drum and bass": 1}),
        ("pop without rock and pop", {"pop": 1}, {"rock": 1, "pop": 1}),
        (
            "pop without drums and rhythm and blues and choir",
            {"pop": 1},
            {"drums": 1, "rhythm and blues": 1, "choir": 1},
        ),
        ('piano without "drum solo" or vocals', {"piano": 1}, {"drum solo": 1, "vocals": 1}),
        ('piano without "hit and run"^2', {"piano": 1}, {"hit and run": 2}),
        ('"church organ" without choir^2 -bells', {"church organ": 1}, {"choir": 2, "bells": 1}),
        (
            "guitar without drums but with strings",
            {"guitar with strings": 1},
            {"drums": 1},
        ),
        ("slow and without drums", {"slow": 1}, {"drums": 1}),
        (
            "piano without vocals but slow without drums",
            {"piano slow": 1},
            {"vocals": 1, "drums": 1},
        ),
        ("piano without vocals without drums", {"piano": 1}, {"vocals": 1, "drums": 1}),
        ("without vocals", {}, {"vocals": 1}),
        ("a world without", {"a world without": 1}, {}),
        ("with or without you", {"with or without you": 1}, {}),
        ("without-you", {"without-you": 1}, {}),
        ("without and", {}, {}),
    ],
)
def test_parse(text: str, wanted: dict[str, float], unwanted: dict[str, float]) -> None:
    if not wanted and not unwanted:
        with pytest.raises(InputError, match="query is empty"):
            parse(text)
    else:
        assert question(text) == (wanted, unwanted)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", InputError, "the query is empty"),
        (" \n\t", InputError, "the query is empty"),
        (" , ; ", InputError, "the query is empty"),
        ('""', LibraryQueryError, "nothing in it"),
        ('jazz -"  "', LibraryQueryError, "nothing in it"),
        ('"church organ', LibraryQueryError, "does not close it"),
        ('jazz -"drum solo', LibraryQueryError, "does not close it"),
        ('"organ"^two', LibraryQueryError, "weight 'two' of 'organ' is not a number"),
        ('"organ"^ choir', LibraryQueryError, "weight '' of 'organ' is not a number"),
        ("jazz^0", InputError, "weight 0.0 of 'jazz' must be above 0 and at most 1000"),
        ("jazz^-1", InputError, "weight -1.0 of 'jazz'"),
        ("jazz^1e400", InputError, "weight inf of 'jazz'"),
        ("jazz^1001", InputError, "weight 1001.0 of 'jazz'"),
        ("jazz^NaN", InputError, "weight nan of 'jazz'"),
        ('"drum solo"^-inf', InputError, "weight -inf of 'drum solo'"),
        ("x" * (MAX_CHARACTERS + 1), InputError, "has 4001 characters"),
        ("ja\udcffzz", InputError, "not valid Unicode"),
    ],
)
def test_what_cannot_be_understood(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        parse(text)


def test_a_query_is_a_string() -> None:
    with pytest.raises(InputTypeError, match="query must be a string, not NoneType"):
        parse(None)  # type: ignore[arg-type]


def test_a_phrase_checks_itself() -> None:
    assert Phrase("jazz", MAX_WEIGHT).weight == MAX_WEIGHT
    for weight in (0, -1, float("nan"), float("inf"), 2 * MAX_WEIGHT):
        with pytest.raises(InputError, match="must be above 0"):
            Phrase("jazz", weight)
    with pytest.raises(InputError, match="empty"):
        Phrase(" ")
    with pytest.raises(InputTypeError, match="must be a string, not int"):
        Phrase(3)  # type: ignore[arg-type]
    for wrong in ("2", True, None):
        with pytest.raises(InputTypeError, match="must be a number"):
            Phrase("jazz", wrong)  # type: ignore[arg-type]


pieces = st.sampled_from(
    ['"', "-", "^", "^2", "\\", " ", ",", "without", " without ", " or ", " and ", " but ", "with",
     "jazz", "lo-fi", "'", "“", "^nan", "^1e9", "0.5", "drum", "bass", "\n", "é", "-\"", "\"^"]
)  # fmt: skip
typed = st.one_of(st.text(max_size=60), st.lists(pieces, max_size=14).map("".join))


@given(typed)
@example('"\\" "')
@example("without , , or")
@example('-"-a"^3 -^2')
def test_anything_is_understood_or_refused_and_what_is_written_reads_back(text: str) -> None:
    try:
        parsed = parse(text)
    except (InputError, LibraryQueryError):
        return
    assert parsed.wanted or parsed.unwanted
    for phrase in (*parsed.wanted, *parsed.unwanted):
        assert phrase.text == " ".join(phrase.text.split()) != ""
        assert 0 < phrase.weight <= MAX_WEIGHT
    assert parse(str(parsed)) == parsed


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="“”„‟−"), max_size=20)
phrases = st.builds(
    Phrase,
    words.map(lambda text: " ".join(text.split())).filter(bool),
    st.floats(0, MAX_WEIGHT, exclude_min=True),
)


@given(st.lists(phrases, max_size=4), st.lists(phrases, min_size=1, max_size=4))
def test_every_question_can_be_written(wanted: list[Phrase], unwanted: list[Phrase]) -> None:
    asked = Question(tuple(wanted), tuple(unwanted))
    assert parse(str(asked)) == asked


@given(
    st.lists(
        st.sampled_from(["soft", "lo-fi", "jazz", "don't", '12"', "C#", "R&B", "80s"]), min_size=1
    )
)
def test_words_without_signs_stay_as_they_are(words: list[str]) -> None:
    assert question(" ".join(words)) == ({" ".join(words): 1}, {})
