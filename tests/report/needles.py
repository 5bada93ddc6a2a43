"""What a film or a patient id looks like in bytes: raw, encoded, re-encoded, shrunk, compressed, hashed."""

from __future__ import annotations

import base64
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from PIL import Image

from reid_audit.artefacts.provenance import perceptual_hashes

HASHES = ("md5", "sha1", "sha256", "sha512", "blake2b")
WINDOW = 24
"""Bytes: shorter pieces of an image occur by chance."""


def found_in(text: bytes, needles: Iterable[bytes]) -> set[bytes]:
    """The needles that ``text`` holds, in any case where they are text."""
    folded = text.lower()
    return {n for n in needles if n in text or (n.isascii() and n.lower() in folded)}


def of_films(films: Iterable[np.ndarray]) -> set[bytes]:
    """Needles of grey films [side, side] uint8."""
    return {n for film in films for n in _film(film) if len(n) >= 6}


def of_patients(patients: Iterable[str]) -> set[bytes]:
    """Needles of patient ids."""
    return {n for patient in patients for n in _patient(patient) if len(n) >= 6}


def _film(image: np.ndarray) -> Iterator[bytes]:
    floats = image.astype(np.float32) / 255
    raw = [image.tobytes(), floats.tobytes(), floats.astype(np.float16).tobytes()]
    shrunk = [np.asarray(Image.fromarray(image).resize((side, side))) for side in (8, 16, 32, 128)]
    forms = [*raw, *(small.tobytes() for small in shrunk), *(zlib.compress(data) for data in raw)]
    forms += [encoded(picture, "PNG", compress_level=level) for picture in (image, *shrunk) for level in (0, 6, 9)]
    forms += [encoded(picture, "JPEG", quality=q) for picture in (image, *shrunk[2:]) for q in (50, 75, 95)]
    for form in forms:
        # The end of a form is content; its start is a header every image shares, and its last bytes a trailer.
        for start in (5 * len(form) // 6, len(form) - WINDOW - 16):
            piece = form[start : start + WINDOW]
            yield from (piece, piece.hex().encode(), *_base64_cores(piece))
        yield from _hashes(form)
    for row in (image[len(image) // 2], *(small[len(small) // 2] for small in shrunk)):
        yield ", ".join(str(v) for v in row[:8]).encode()
        yield ",".join(str(v) for v in row[:8]).encode()
        yield ", ".join(repr(round(float(v) / 255, 4)) for v in row[:4]).encode()
    packed = perceptual_hashes(torch.from_numpy(floats)[None, None])[0]
    yield packed.numpy().tobytes().hex().encode()
    yield base64.b64encode(packed.numpy().tobytes())
    yield from (str(int(word)).encode() for word in packed)


def _patient(patient: str) -> Iterator[bytes]:
    raw = patient.encode()
    yield from (raw, raw.lower(), raw.hex().encode(), raw[::-1], base64.b64encode(raw).rstrip(b"="))
    yield from (base64.b64encode(raw), base64.b32encode(raw), *_base64_cores(raw))
    for form in (raw, raw.lower(), raw + b".png", b"images/" + raw + b"_000.png"):
        yield from _hashes(form)


def _hashes(data: bytes) -> Iterator[bytes]:
    for name in HASHES:
        digest = hashlib.new(name, data)
        yield digest.hexdigest().encode()
        yield digest.hexdigest()[:16].encode()
        yield base64.b64encode(digest.digest())
    yield f"{zlib.crc32(data):08x}".encode()


def _base64_cores(data: bytes) -> Iterator[bytes]:
    """Base64 of ``data`` at each of the three alignments, without the ends its neighbours decide."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + data)
        core = text[4:-4] if len(text) > 16 else text.rstrip(b"=")
        yield core
        yield core.replace(b"+", b"-").replace(b"/", b"_")


def encoded(image: np.ndarray, format: str, **options: int) -> bytes:
    """``image`` as a PNG or JPEG file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format, **options)
    return stream.getvalue()
