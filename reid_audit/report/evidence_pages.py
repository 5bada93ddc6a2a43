"""``restricted/``: the images behind a verdict, and a section for each patient. Never published, never uploaded."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from reid_audit.atomic import gone_unless_whole
from reid_audit.report import charts
from reid_audit.report.evidence import Evidence, in_order
from reid_audit.report.templating import page

_PNG = b"\x89PNG\r\n\x1a\n"


def render_evidence(evidence: Evidence) -> str:
    """The restricted page as text: patients sorted by what failed the model, exposed ones first."""
    patients = in_order(evidence.patients, membership=evidence.by_membership)
    over = evidence.over_references
    picture = "" if over is None else charts.over_references(over.counts, over.alike, "over-references")
    return page("evidence.html.j2", e=evidence, patients=patients, uri=png_uri, anchor=anchor, over=picture)


def render_patients(evidence: Evidence) -> str:
    """The page with a section for each patient whose films the evidence holds, in the order of the other's table."""
    patients = [p for p in in_order(evidence.patients, membership=evidence.by_membership) if p.films]
    return page("patients.html.j2", e=evidence, patients=patients, uri=png_uri, anchor=anchor)


def anchor(patient_id: str) -> str:
    """The id of a patient's section in its page, whatever signs the patient's own has."""
    return f"p-{patient_id.encode().hex()}"


def write_evidence(evidence: Evidence, folder: Path) -> Path:
    """Write ``folder``/evidence.html, and patients.html where a patient has a section: the folder gets mode 0700, each
    file 0600 from its first byte."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    if any(patient.films for patient in evidence.patients):
        _write(render_patients(evidence), folder / "patients.html")
    return _write(render_evidence(evidence), folder / "evidence.html")


def _write(text: str, path: Path) -> Path:
    draft = path.with_name(f".{path.name}.part")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with gone_unless_whole(draft), os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
    return path


def png_uri(png: bytes) -> str:
    """A PNG as a data URI; ValueError where the bytes are no PNG."""
    if not png.startswith(_PNG):
        raise ValueError("evidence images must be PNG")
    return "data:image/png;base64," + base64.b64encode(png).decode()
