"""Words of an audit that may be published: without paths, image names, or anything an identifier fits in."""

from __future__ import annotations

import re

_PATH = re.compile(
    r"(?<![\w.])(?:[A-Za-z]:\\|~?/|\.{1,2}/)[^\s,;]+|[^\s,;]+\.(?:png|jpe?g|dcm|dicom|npz|npy|csv|tiff?)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"^[A-Za-z_. -]{1,40}$")


def scrub(text: str, limit: int = 400) -> str:
    """One line without paths and image names, at most ``limit`` characters."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    clean = _PATH.sub("[file]", flat)
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"


def word(text: str, otherwise: str) -> str:
    """``text`` where it is a plain name without digits, so that no identifier fits, else ``otherwise``."""
    return text if _WORD.match(text) else otherwise
