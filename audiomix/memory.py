"""Memory that is freed stays with the process, so that sounds are not given fresh pages again and again."""

import ctypes
import os
import platform

__all__ = ["keep_freed_pages"]

# Options of glibc's mallopt (malloc.h), and the largest threshold that it takes on 64 bits: half of an arena.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 32 << 20
# What stays with the process at the end of its heap, at most.
_KEPT = 256 << 20


def keep_freed_pages() -> bool:
    """Let this process keep up to 256 MB that it frees, where the C library is glibc; return whether it does.

    By default glibc gives blocks of some megabytes back to the system when they are freed, and each new one has its
    pages cleared anew: for sounds of ten seconds that takes longer than mixing them. Where the environment sets these
    thresholds itself, nothing is changed.
    """
    if platform.libc_ver()[0] != "glibc" or any(
        name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ
    ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
