"""numpy arrays inside a pickle: what they say of themselves becomes the description of a tensor; numpy is not asked."""

from __future__ import annotations

import pickle
from typing import Any

from reid_audit.checkpoint.inert import ArraySpec, Placed, TensorSpec, UnsupportedSpec

KINDS: dict[str, str] = {
    "f2": "float16", "f4": "float32", "f8": "float64", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64",
    "u1": "uint8", "u2": "uint16", "u4": "uint32", "u8": "uint64", "b1": "bool", "c8": "complex64",
    "c16": "complex128", "?": "bool", "e": "float16", "f": "float32", "d": "float64", "b": "int8", "B": "uint8",
}  # fmt: skip
"""numpy's code -> torch's dtype."""
TEXTS = 2000
"""Characters of an array of texts that are looked at."""


class NumpyDtype:
    """A dtype: its code, and the order of its bytes, which follows as its state."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any = "", *_flags: Any) -> None:
        self.code = code.lstrip("<=|") if isinstance(code, str) else ""
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], str):
            self.order = state[1]


class NumpyArray:
    """An array: empty when it is made; its state says the rest. Also a single number."""

    __slots__ = ("content", "dtype", "fortran", "shape")

    def __init__(self, shape: Any = (), dtype: Any = None, *, content: Any = b"", fortran: bool = False) -> None:
        self.shape, self.dtype, self.content, self.fortran = shape, dtype, content, fortran

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise pickle.UnpicklingError("an array with an unknown kind of state")
        self.shape, self.dtype, self.fortran, self.content = state[-4:]

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.shape) if isinstance(self.shape, tuple) else 0

    def described(self) -> Any:
        """A tensor where it holds numbers, the texts or objects it holds otherwise."""
        if not isinstance(self.dtype, NumpyDtype) or not isinstance(self.shape, tuple):
            return self.content
        code, order = self.dtype.code, self.dtype.order
        if code.lstrip(">") not in KINDS:
            return self.texts() if code[:1] in ("U", "S") else self.content
        kind = KINDS[code.lstrip(">")]
        if (order == ">" or code.startswith(">")) and kind not in ("int8", "uint8", "bool"):
            return UnsupportedSpec("an array of another byte order")
        content = _content(self.content)
        if content is None or any(type(extent) is not int for extent in self.shape):
            return UnsupportedSpec("an array without its values")
        return TensorSpec(ArraySpec(kind, content), 0, self.shape, _strides(self.shape, bool(self.fortran)))

    def texts(self) -> str:
        """The beginning of an array of texts."""
        if isinstance(self.content, Placed):
            return self.content.head.replace("\0", "")
        raw = _content(self.content)
        coding = "utf-32-le" if isinstance(self.dtype, NumpyDtype) and self.dtype.code.startswith("U") else "latin-1"
        return raw[: 4 * TEXTS].decode(coding, "replace").replace("\0", " ") if isinstance(raw, bytes) else ""


def reconstruct(_type: Any = None, *_arguments: Any) -> NumpyArray:
    """``numpy.core.multiarray._reconstruct``: an array whose state follows."""
    return NumpyArray()


def scalar(dtype: Any = None, content: Any = b"") -> NumpyArray:
    """``numpy.core.multiarray.scalar``: a number."""
    return NumpyArray((), dtype, content=content)


def from_buffer(content: Any = b"", dtype: Any = None, shape: Any = (), order: Any = "C", *_axes: Any) -> NumpyArray:
    """``numpy.core.numeric._frombuffer``: an array of a byte string (protocol 5)."""
    if _axes and _axes[0] is not None:
        raise pickle.UnpicklingError("an array with its axes in an unknown order")
    return NumpyArray(shape, dtype, content=content, fortran=order == "F")


def encode(text: Any = "", coding: Any = "latin1") -> Any:
    """``_codecs.encode``: how protocols up to 2 write bytes. Long ones stay where they are."""
    if coding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("bytes in an unknown coding")
    if isinstance(text, Placed):
        return text
    if not isinstance(text, str):
        raise pickle.UnpicklingError("bytes that are no text")
    return text.encode("latin-1")


def byte_string(content: Any = b"", coding: Any = "latin1") -> Any:
    """``bytes`` and ``bytearray``: what they are made of, as bytes."""
    return content if isinstance(content, bytes | bytearray | Placed) else encode(content, coding)


def _content(raw: Any) -> bytes | Placed | None:
    """Bytes or their place; a text of Python 2 is bytes, too."""
    if isinstance(raw, Placed):
        return raw
    if isinstance(raw, bytes | bytearray):
        return bytes(raw)
    if isinstance(raw, str):
        return raw.encode("latin-1", "replace")
    return None


def _strides(shape: tuple[int, ...], fortran: bool) -> tuple[int, ...]:
    steps, step = [], 1
    for extent in shape if fortran else reversed(shape):
        steps.append(step)
        step *= max(extent, 1)
    return tuple(steps) if fortran else tuple(reversed(steps))
