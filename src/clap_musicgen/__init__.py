"""Search your music by words or by sound.

::

    from clap_musicgen import ClapMusicGen, Library

    model = ClapMusicGen.from_pretrained("mini")
    library = Library.open("~/music.clap", model)
    library.add("~/Music")
    library.search("dark metal", k=10)

The public names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clap_musicgen.embedding import Embedder
    from clap_musicgen.errors import ClapMusicGenError
    from clap_musicgen.library.library import Library
    from clap_musicgen.library.records import Match, Report, Track
    from clap_musicgen.model.clap import ClapMusicGen
    from clap_musicgen.model.config import ModelConfig

__version__ = "0.1.0"

_HOMES = {
    "ClapMusicGen": "clap_musicgen.model.clap",
    "ClapMusicGenError": "clap_musicgen.errors",
    "Embedder": "clap_musicgen.embedding",
    "Library": "clap_musicgen.library.library",
    "Match": "clap_musicgen.library.records",
    "ModelConfig": "clap_musicgen.model.config",
    "Report": "clap_musicgen.library.records",
    "Track": "clap_musicgen.library.records",
}

__all__ = [
    "ClapMusicGen",
    "ClapMusicGenError",
    "Embedder",
    "Library",
    "Match",
    "ModelConfig",
    "Report",
    "Track",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clap_musicgen' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
