"""What makes the same numbers come faster. Knows the process, not the models."""

from __future__ import annotations

import ctypes
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of <malloc.h>
LARGE = 2**31 - 1


def keep_large_buffers() -> bool:
    """Make malloc reuse large buffers instead of giving them back at once; True where it took.

    glibc returns each activation of the codec to the system and faults it in again for the next
    clip, a third of the time of a long run. The numbers are untouched; the process keeps its peak
    memory. It changes the whole process, so programs call it (the command line does) and the
    library never does by itself. Only glibc has it; elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # musl
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGE)) and bool(mallopt(TRIM_THRESHOLD, LARGE))
