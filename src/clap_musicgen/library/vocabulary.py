"""Words for music: the labels that tracks are tagged with, and the captions a library is judged by.

`bank` makes the captions that no one has asked: what they score on a library's tracks shows what a
text scores there that has nothing to do with a track (see `calibration`). They are everyday search
texts: single labels, short phrases and whole sentences. Plain words, chosen by hand from what music
libraries and shops sort by; neither the labels nor the captions were fitted to any data set.

Changing the bank changes calibrated scores: a library keeps the captions it was calibrated with.
"""

from __future__ import annotations

VOCABULARY: dict[str, tuple[str, ...]] = {
    "genre": (
        "ambient",
        "bluegrass",
        "blues",
        "bossa nova",
        "breakbeat",
        "chiptune",
        "choral music",
        "classical",
        "country",
        "disco",
        "drum and bass",
        "dub",
        "dubstep",
        "electronic",
        "film score",
        "flamenco",
        "folk",
        "funk",
        "gospel",
        "heavy metal",
        "hip hop",
        "house",
        "indie rock",
        "jazz",
        "latin",
        "lofi hip hop",
        "marching band",
        "musical theatre",
        "new age",
        "noise",
        "opera",
        "orchestral",
        "pop",
        "punk rock",
        "ragtime",
        "reggae",
        "rhythm and blues",
        "rock",
        "rockabilly",
        "salsa",
        "samba",
        "ska",
        "soul",
        "swing",
        "synthwave",
        "tango",
        "techno",
        "trance",
        "trap",
        "video game music",
        "waltz",
        "world music",
    ),
    "mood": (
        "aggressive",
        "calm",
        "cheerful",
        "dark",
        "dramatic",
        "dreamy",
        "energetic",
        "epic",
        "funny",
        "gentle",
        "groovy",
        "hypnotic",
        "melancholic",
        "mysterious",
        "peaceful",
        "playful",
        "romantic",
        "sad",
        "tense",
        "triumphant",
        "uplifting",
        "warm",
    ),
    "instrument": (
        "accordion",
        "acoustic guitar",
        "banjo",
        "bass guitar",
        "bells",
        "cello",
        "clarinet",
        "congas",
        "double bass",
        "drum kit",
        "drum machine",
        "electric guitar",
        "electric piano",
        "flute",
        "french horn",
        "glockenspiel",
        "hand claps",
        "harmonica",
        "harp",
        "harpsichord",
        "mandolin",
        "marimba",
        "organ",
        "pan flute",
        "percussion",
        "piano",
        "saxophone",
        "sitar",
        "steel drums",
        "string quartet",
        "strings",
        "synthesizer",
        "synth bass",
        "tabla",
        "timpani",
        "trombone",
        "trumpet",
        "tuba",
        "ukulele",
        "violin",
    ),
    "voice": (
        "a cappella",
        "beatboxing",
        "children's choir",
        "choir",
        "female vocals",
        "instrumental",
        "male vocals",
        "rap vocals",
        "spoken word",
        "vocal harmonies",
    ),
    "tempo": ("very slow", "slow", "mid-tempo", "fast", "very fast"),
    "recording": (
        "distorted",
        "field recording",
        "live recording",
        "lo-fi",
        "reverberant",
        "sound effect",
        "unaccompanied solo",
        "vinyl crackle",
    ),
    "setting": (
        "boss fight",
        "campfire",
        "chase scene",
        "christmas",
        "church",
        "club",
        "dinner",
        "fanfare",
        "horror film",
        "lullaby",
        "meditation",
        "road trip",
        "sports",
        "study",
        "wedding",
        "workout",
    ),
}
"""Facet → its labels. Within the facets genre and tempo a track mostly has one, elsewhere several."""

_ALONE = {"instrument": "music with {}", "voice": "music with {}", "recording": "{}"}
_TOGETHER = (
    ("{} {}", "mood", "genre"),
    ("{} with {}", "genre", "instrument"),
    ("solo {}, {}", "instrument", "mood"),
    ("{} music played on {}", "mood", "instrument"),
    ("a song in the style of {} with {}", "genre", "voice"),
    ("{} {} with a steady beat", "tempo", "genre"),
    ("{} music for {}", "tempo", "setting"),
)
_EACH = 22
"""How many captions each pattern of `_TOGETHER` makes."""
_GOLDEN = 0.6180339887498949


def bank() -> list[str]:
    """About 300 distinct captions, always the same: each label alone, then two labels together."""
    captions = [
        _ALONE.get(facet, "{} music").format(label).replace("music music", "music")
        for facet, labels in VOCABULARY.items()
        for label in labels
    ]
    for number, (pattern, first, second) in enumerate(_TOGETHER):
        for turn in range(_EACH):
            step = turn + number * _EACH
            left, right = _spread(VOCABULARY[first], step), _spread(VOCABULARY[second], 3 * step)
            captions.append(pattern.format(left, right))
    return list(dict.fromkeys(captions))


def _spread(labels: tuple[str, ...], step: int) -> str:
    """A label for each step, evenly often and unlike the one before (steps of the golden ratio)."""
    return labels[int(len(labels) * (step * _GOLDEN % 1.0))]
