"""Keeps the memory of large requests for the next one.

A call of a scheduler about thousands of nodes makes and frees some buffers of hundreds of kilobytes. glibc gives such
memory back to the kernel each time, and the kernel clears each page anew for the next call: a third of a call's CPU.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""From malloc.h."""
_KEPT_BYTES = 16 * 1024 * 1024
"""Free at the end of the heap, and kept: what a hundred such calls would not fill."""
_MAPPED_BYTES = 4 * 1024 * 1024
"""Larger pieces, as of a list of whole Node objects, still come from the kernel and go back to it."""


def keep_buffers() -> bool:
    """Have malloc keep up to 16 MiB that are free. False where the C library is none that can be told, and nothing changes."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return all(library.mallopt(*told) for told in ((_TRIM_THRESHOLD, _KEPT_BYTES), (_MMAP_THRESHOLD, _MAPPED_BYTES)))
