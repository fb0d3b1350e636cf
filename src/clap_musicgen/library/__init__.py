"""A library of music: add files, search them by words and by sound."""

from clap_musicgen.library.library import Library
from clap_musicgen.library.query import Sound
from clap_musicgen.library.records import Info, Match, Progress, Report, Track

__all__ = ["Info", "Library", "Match", "Progress", "Report", "Sound", "Track"]
