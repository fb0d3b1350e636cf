"""A library of music: add files, search them by words and by sound."""

from clap_musicgen.library.filters import Filters
from clap_musicgen.library.library import Library
from clap_musicgen.library.phrases import Phrase
from clap_musicgen.library.query import Sound
from clap_musicgen.library.records import Info, Match, Progress, Report, Segment, Track

__all__ = [
    "Filters",
    "Info",
    "Library",
    "Match",
    "Phrase",
    "Progress",
    "Report",
    "Segment",
    "Sound",
    "Track",
]
