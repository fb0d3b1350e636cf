"""A library of music: add files, search them by words and by sound.

::

    library                          the public face
    ├── current, asking              questions: phrases → query, filters → picking, calibration
    │   ├── lists                    playlists (m3u, saved), duplicates, tagging (vocabulary)
    │   └── mapping                  the map: map_layout, projecting (PCA, PaCMAP), map_files
    ├── adding | scale               files → vectors here (listening), or on Ray (spreading, working, cluster)
    │   └── settling                 what becomes of each file; commits in groups
    ├── checking, exchange           check (examining, salvaging, runs), export and importing
    ├── resident                     one state in memory: clips, indexed, nearest, layout, known
    ├── store, migrating             transactions; rows; tables is the only door to LanceDB
    ├── folder                       library.json; place: a folder, or objects in an object store
    ├── conditions                   which SQL conditions may come from strangers
    └── records, paths               plain data
"""

from clap_musicgen.library.filters import Filters
from clap_musicgen.library.library import Library
from clap_musicgen.library.phrases import Phrase
from clap_musicgen.library.query import Heard, Sound
from clap_musicgen.library.records import Found, Info, Match, Progress, Report, Segment, Track

__all__ = [
    "Filters",
    "Found",
    "Heard",
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
