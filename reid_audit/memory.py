"""How the machine and the libraries say that there is no memory left."""

from __future__ import annotations

import errno

_WORDS = ("out of memory", "not enough memory", "allocate memory", "failed to map segment")
"""Of PyTorch, CUDA, NumPy and the loader of libraries."""


def out_of_memory(error: Exception) -> bool:
    """Whether ``error`` came up because host or device had no memory left, whatever its class."""
    said, number = str(error).lower(), error.errno if isinstance(error, OSError) else None
    return isinstance(error, MemoryError) or number == errno.ENOMEM or any(words in said for words in _WORDS)
