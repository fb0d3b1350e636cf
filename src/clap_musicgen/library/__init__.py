"""A library of music: add files, search them by words and by sound.

::

    library                          the public face
    ├── asking                       questions: phrases → query, filters → picking, calibration
    │   └── lists                    playlists (m3u), duplicates, tagging (vocabulary)
    ├── adding | scale               files → vectors here (listening), or on Ray (spreading, working, cluster)
    │   └── settling                 what becomes of each file; commits in groups
    ├── checking, exchange           check (examining, salvaging, runs), export and importing
    ├── resident                     one state in memory: clips, indexed, nearest, layout, known
    ├── store, migrating             transactions; rows; tables is the only door to LanceDB
    ├── folder                       library.json; place: a folder, or objects in an object store
    └── records, paths               plain data
"""

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
