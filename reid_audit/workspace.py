"""The work memory of linear algebra, taken while there is some.

OpenBLAS asks for it at the first large product. Where it gets none it asks again for ever, or ends the process with
code 1, which is a verdict.
"""

from __future__ import annotations

import mmap

SIDE = 256
"""Rows of a product that no small-matrix shortcut computes."""
ROOM = 1 << 28
"""Bytes of address space that the work memory of both libraries fits into."""


def take_workspace() -> None:
    """Let NumPy's and SciPy's libraries, which are two, take the memory that they keep until the process ends.

    Raises OSError (ENOMEM) where there is none.
    """
    mmap.mmap(-1, ROOM).close()
    import numpy as np  # the libraries ask for memory as soon as they are loaded
    from scipy.linalg import blas

    square = np.zeros((SIDE, SIDE))
    square @ square
    blas.dgemm(1.0, square, square)
