"""No public byte holds a planted film or patient: raw, base64, re-encoded, shrunk or hashed."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pytest
import results
from planted import PATIENTS, evidence, film, jpeg, png

from reid_audit.records import AuditResult, Breach, Curve, Gap, Histogram, Metric, Waiver
from reid_audit.report import FORMATS, publish, render
from reid_audit.report.evidence import render_evidence

HASHES = ("md5", "sha1", "sha256", "sha512", "blake2b")
WINDOW = 24
"""Bytes: shorter pieces of an image occur by chance."""


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


def _image_needles(image: np.ndarray) -> Iterator[bytes]:
    floats = image.astype(np.float32) / 255
    forms = [image.tobytes(), floats.tobytes(), png(image), png(image, level=9), png(image, level=0)]
    forms += [png(image, side) for side in (8, 16, 32, 128)]
    forms += [jpeg(image, quality) for quality in (50, 75, 95)]
    middle = [image[len(image) // 2].tobytes(), floats[len(image) // 2].tobytes()]
    for form in forms + middle:
        # The middle of a form is content; its start is a header every image shares.
        piece = form[len(form) // 2 : len(form) // 2 + WINDOW]
        yield from (piece, piece.hex().encode(), *_base64_cores(piece))
        yield from _hashes(form)
    row = image[len(image) // 2]
    yield ", ".join(str(v) for v in row[:8]).encode()
    yield ",".join(str(v) for v in row[:8]).encode()
    yield ", ".join(repr(round(float(v) / 255, 4)) for v in row[:4]).encode()


def _patient_needles(patient: str) -> Iterator[bytes]:
    raw = patient.encode()
    yield from (raw, raw.lower(), raw.hex().encode(), base64.b64encode(raw).rstrip(b"="), raw[::-1])
    yield from (base64.b64encode(raw), base64.b32encode(raw))
    for form in (raw, raw.lower(), raw + b".png", b"images/" + raw + b"_000.png"):
        yield from _hashes(form)


def _needles() -> set[bytes]:
    found = {n for i in range(3) for n in _image_needles(film(i + 10))}
    found |= {n for patient in PATIENTS for n in _patient_needles(patient)}
    return {n for n in found if len(n) >= 6}


def _planted() -> AuditResult:
    """An audit whose every place for text or lists was given a film or a patient by mistake."""
    result = results.failing()
    digest = hashlib.sha256(film(10).tobytes()).hexdigest()
    path = f"/srv/films/{PATIENTS[0]}_000.png"
    breach = Breach(metric=Metric.LINKAGE_P, text=f"nearest film is {path}")
    verdict = result.verdict.model_copy(
        update={
            "reason": f"see {path}",
            "breaches": (breach,),
            "gaps": (Gap(text=f"cannot read {path}", remedy=f"remove {PATIENTS[0]}_001.dcm"),),
            "warnings": (f"skipped ../films/{PATIENTS[0]}/a.png",),
        }
    )
    row = tuple(float(v) / 255 for v in film(10).ravel())
    cohort = result.cohorts[0].model_copy(update={"digest": digest, "strata": (PATIENTS[0], PATIENTS[2])})
    arms = (result.arms[0].model_copy(update={"note": f"wrote {path}"}),)
    return result.model_copy(
        update={
            "verdict": verdict,
            "cohorts": (cohort,),
            "arms": arms,
            "checkpoint": result.checkpoint.model_copy(
                update={"wrapper": PATIENTS[0], "findings": (f"holds the path {path}",)}
            ),
            "curves": (Curve(id=PATIENTS[0], x=row, y=row), Curve(id="exposure_roc", x=row, y=row)),
            "histograms": (
                Histogram(
                    id=Metric.LINKAGE_P, edges=(*range(4097),), counts=(*film(10).ravel().tolist(),), observed=0.9
                ),
            ),
            "digests": ((PATIENTS[0], digest), ("film", digest)),
            "waivers": (
                Waiver(
                    gate=Metric.LINKAGE_P,
                    checkpoint_sha256=result.checkpoint.sha256,
                    reason=f"accepted for {path}",
                    approved_by="Data protection office",
                    expires=date(2027, 1, 1),
                ),
            ),
        }
    )


def _found(text: bytes) -> set[bytes]:
    folded = text.lower()
    return {n for n in _needles() if n in text or (n.isascii() and n.lower() in folded)}


@pytest.mark.parametrize("format", FORMATS)
def test_no_public_byte_holds_a_planted_film_or_patient(format: Any) -> None:
    assert _found(render(publish(_planted()), format).encode()) == set()


def test_the_search_finds_what_is_there() -> None:
    assert _found(render_evidence(evidence()).encode())
    assert _found(f"hash {hashlib.sha1(PATIENTS[1].encode()).hexdigest()}".encode())
    assert _found(b"x" + base64.b64encode(b"ab" + film(10).tobytes()))
    assert _found(jpeg(film(11), 75))
    assert _found(_planted().model_dump_json().encode())
