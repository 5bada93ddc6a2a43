"""No public byte holds a planted film or patient: raw, base64, re-encoded, shrunk or hashed."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import date
from typing import Any

import numpy as np
import pytest
import results
import torch
from needles import encoded, found_in, of_films, of_patients
from PIL import Image
from planted import PATIENTS, evidence, film, jpeg

from reid_audit.artefacts.provenance import perceptual_hashes
from reid_audit.records import AuditResult, Breach, Curve, Gap, Histogram, Metric, Waiver
from reid_audit.report import FORMATS, publish, render
from reid_audit.report.command import PUBLIC
from reid_audit.report.evidence_pages import render_evidence
from reid_audit.report.modelcard import insert

NEEDLES = of_films(film(i + 10) for i in range(3)) | of_patients(PATIENTS)


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
    runs = (result.attack_runs[0].model_copy(update={"note": f"wrote {path}"}),)
    prior = result.prior.model_copy(
        update={"id": path, "declared_training_sets": (f"films of {path}",), "licence": f"see {path}"}
    )
    flags = (*PUBLIC, "arch", "later")
    return result.model_copy(
        update={
            "options": tuple((flag, value) for flag in flags for value in (path, PATIENTS[0])),
            "verdict": verdict,
            "cohorts": (cohort,),
            "attack_runs": runs,
            "prior": prior,
            "method": f"moments {path}",
            "checkpoint": result.checkpoint.model_copy(
                update={"wrapper": PATIENTS[0], "findings": (f"holds the path {path}",)}
            ),
            "curves": (Curve(id=PATIENTS[0], x=row, y=row), Curve(id="membership_roc", x=row, y=row)),
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
    return found_in(text, NEEDLES)


@pytest.mark.parametrize("format", FORMATS)
def test_no_public_byte_holds_a_planted_film_or_patient(format: Any) -> None:
    assert _found(render(publish(_planted()), format).encode()) == set()


def test_nor_does_a_model_card() -> None:
    assert _found(insert("# Model\n", publish(_planted()), "report.html").encode()) == set()


@pytest.mark.parametrize("format", FORMATS)
def test_no_public_file_embeds_anything(format: Any) -> None:
    """Wherever an image could be hidden whole: data URIs, long runs of base64 or hexadecimal digits."""
    text = render(publish(results.failing()), format)
    assert "data:" not in text.replace("metadata:", "")
    assert max(len(run) for run in re.findall(r"[A-Za-z0-9+/=_-]+", text)) <= 80


def _forms(image: np.ndarray) -> dict[str, bytes]:
    small = np.asarray(Image.fromarray(image).resize((32, 32)))
    hashed = perceptual_hashes(torch.from_numpy(image.astype(np.float32) / 255)[None, None])[0]
    return {
        "raw": image.tobytes(),
        "base64": b"x" + base64.b64encode(b"ab" + image.tobytes()),
        "hexadecimal": image.tobytes().hex().encode(),
        "numbers": ", ".join(str(v) for v in image.ravel()).encode(),
        "floats": (image.astype(np.float32) / 255).tobytes(),
        "PNG": encoded(image, "PNG", compress_level=9),
        "JPEG": jpeg(image, 75),
        "thumbnail": base64.b64encode(encoded(small, "PNG", compress_level=6)),
        "raw thumbnail": small.tobytes(),
        "hash": hashlib.sha256(image.tobytes()).hexdigest().upper().encode(),
        "perceptual hash": str(int(hashed[2])).encode(),
    }


@pytest.mark.parametrize("form", list(_forms(film(10))))
def test_the_search_finds_a_film_as(form: str) -> None:
    assert _found(b"{" + _forms(film(11))[form] + b"}")
    assert not _found(b"{" + _forms(film(99))[form] + b"}"), "another film is no hit"


def test_the_search_finds_what_is_there() -> None:
    assert _found(render_evidence(evidence()).encode())
    assert _found(f"hash {hashlib.sha1(PATIENTS[1].encode()).hexdigest()}".encode())
    assert _found(_planted().model_dump_json().encode())
