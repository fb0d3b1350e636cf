"""Every error this package raises on purpose, in one tree.

::

    ClapMusicGenError
    ├── InputError (ValueError)          an argument has a value we cannot use
    ├── InputTypeError (TypeError)       an argument has the wrong type
    ├── AudioError                       one audio file; carries `path` and `reason`
    │   ├── NotAudioError                the content is not audio
    │   ├── EmptyAudioError              an audio container without a single sample
    │   └── UnreadableAudioError         missing, no permission, an I/O error, a crashed decoder
    ├── CheckpointError                  a checkpoint folder is missing, partial, corrupt or of another shape
    ├── ManifestError                    a manifest cannot be read, or a line of it is not valid
    ├── TrainingError                    a run cannot start, resume or be written
    ├── DownloadError                    a public data set cannot be fetched, or its copy not be read
    └── LibraryError                     a library cannot be opened, read or written
        ├── LibraryModelError            the library holds another model's vectors
        ├── LibraryBusyError             another process is writing to it
        ├── LibraryQueryError            the question cannot be understood
        ├── TrackNotFoundError           no such track in it
        └── PlaylistNotFoundError        no playlist of that name is kept with it

Each message names the value, the file and the way out, so that the command line can print it alone.
"""

from __future__ import annotations

from os import PathLike, fspath


class ClapMusicGenError(Exception):
    """The root: catching it catches everything this package raises on purpose."""


class InputError(ClapMusicGenError, ValueError):
    """An argument has a value we cannot use."""


class InputTypeError(ClapMusicGenError, TypeError):
    """An argument has the wrong type, for example one string where a list of strings belongs."""


class AudioError(ClapMusicGenError):
    """One audio file cannot be used.

    Attributes:
        path: the file.
        reason: why, in words a person understands, without the path.
    """

    def __init__(self, path: str | PathLike[str], reason: str) -> None:
        self.path = fspath(path)
        self.reason = reason
        super().__init__(path, reason)  # both in `args`, so that it survives pickling

    def __str__(self) -> str:
        return f"{self.path!r}: {self.reason}"


class NotAudioError(AudioError):
    """The content is not audio."""


class EmptyAudioError(AudioError):
    """An audio container without a single sample."""


class UnreadableAudioError(AudioError):
    """The file is missing, may not be read, or its decoder crashed."""


class CheckpointError(ClapMusicGenError):
    """A checkpoint folder is missing, partial, corrupt or of another shape."""


class ManifestError(ClapMusicGenError):
    """A manifest cannot be read, or a line of it is not valid."""


class TrainingError(ClapMusicGenError):
    """A run cannot start, resume or be written."""


class DownloadError(ClapMusicGenError):
    """A public data set cannot be fetched, or its local copy cannot be read."""


class LibraryError(ClapMusicGenError):
    """A library cannot be opened, read or written."""


class LibraryModelError(LibraryError):
    """The library holds another model's vectors."""


class LibraryBusyError(LibraryError):
    """Another process is writing to the library."""


class LibraryQueryError(LibraryError):
    """The question cannot be understood, for example a filter with a syntax error."""


class TrackNotFoundError(LibraryError):
    """The library has no such track."""


class PlaylistNotFoundError(LibraryError):
    """The library has no playlist of that name."""
