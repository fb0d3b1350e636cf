"""Files that a library writes for people: whole or not at all, never over another unasked.

Knows files only; not what they hold.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from clap_musicgen.errors import InputError
from clap_musicgen.library.folder import reason


def write_new(path: str | os.PathLike[str], content: bytes, *, force: bool = False) -> Path:
    """Write a file in one step: whoever opens it finds all of it, or what was there before.

    Args:
        path: of the file.
        content: its bytes.
        force: replace a file that is there. A link is followed.

    Returns the absolute path.

    Raises:
        InputError: there is such a file and `force` is false, or it cannot be written.
    """
    target = Path(os.path.realpath(Path(path).expanduser()))
    # Not made from the name, which may be as long as a name can be.
    draft = target.with_name(f".clap-musicgen-{token_hex(8)}.new")
    try:
        with draft.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if not force:
            # Takes the name, and fails where it is taken. A hard link would do that in one step,
            # but the cards of portable players know none.
            target.open("xb").close()
        draft.replace(target)
    except FileExistsError as error:
        raise InputError(
            f"there is a file {str(target)!r} already: name another one, or replace it with "
            "--force (force=True)"
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot write {str(target)!r}: {reason(error)}. Nothing has been written; name a file "
            "in a folder where you may write"
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return target
