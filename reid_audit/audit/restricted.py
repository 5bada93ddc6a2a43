"""The images behind a verdict, for the people who may see them: pairs, grids and per-patient scores."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.audit.evidence import Found
from reid_audit.audit.setup import Setup
from reid_audit.network.heads import logits_of
from reid_audit.records import Verdict
from reid_audit.report.evidence import (
    DemographicRow,
    Evidence,
    GridCell,
    MatchRow,
    Nearest,
    Pair,
    PatientScore,
    in_order,
)
from reid_audit.score.calibration import Floats
from reid_audit.score.identification import Ranks, cumulative_match
from reid_audit.score.linkage import LinkageOutcome
from reid_audit.score.similarity import MatchSpace, cosines, resized, ssim

PAIRS = 32
LEADERS = 12
CELLS = 16
SECTIONS, FILMS, NEAREST = 400, 3, 3
"""Patients with a section of their own, films shown of each, and reconstructions beside them."""
THUMBNAIL = 96
"""Largest side of an image in a patient's section."""


def evidence_of(setup: Setup, found: Found, made: Reconstruction, verdict: Verdict, space: MatchSpace) -> Evidence:
    """Everything the pages below ``restricted/`` show."""
    plain = Evidence(
        checkpoint_sha256=setup.checkpoint.summary.sha256,
        outcome=verdict.outcome.value,
        breaches=tuple(breach.metric for breach in verdict.breaches),
        pairs=pairs(space, found, made),
        grid=grid(setup.task, made),
        demographics=demographic_rows(found),
        patients=patient_scores(found),
        family=found.recognised.outcome.family,
        explaining=found.recognised.explaining,
        over_references=found.recognised.over_references,
        identification=match_rows("match space", found.linkage) + match_rows("encoder", found.encoded.linkage),
    )
    return with_sections(plain, found, made)


def match_rows(scorer: str, linked: LinkageOutcome | None) -> tuple[MatchRow, ...]:
    """The cumulative match characteristic of one scorer; nothing where it ranked nobody."""
    if linked is None or linked.ranks is None or linked.is_member is None:
        return ()
    return tuple(
        MatchRow(scorer, m.rank, m.training, m.holdout) for m in cumulative_match(linked.ranks, linked.is_member)
    )


def with_sections(evidence: Evidence, found: Found, made: Reconstruction) -> Evidence:
    """``evidence`` with the films of the first ``SECTIONS`` patients of its order, and the reconstructions beside
    them."""
    shown = in_order(evidence.patients, membership=evidence.by_membership)[:SECTIONS]
    owned = films_of({patient.patient_id for patient in shown}, found.comparison.patients)
    known = range(len(made.images)) if shown else ()
    sections = {patient.patient_id: with_films(patient, owned[patient.patient_id], found) for patient in shown}
    return replace(
        evidence,
        patients=tuple(sections.get(patient.patient_id, patient) for patient in evidence.patients),
        reconstructions={reconstruction_id(row): png(thumbnail(made.images[row : row + 1])) for row in known},
    )


def films_of(wanted: set[str], patients: NDArray[np.str_]) -> dict[str, list[int]]:
    """The rows of the films of each patient who is wanted."""
    rows: dict[str, list[int]] = {name: [] for name in wanted}
    for row, name in enumerate(patients.tolist()):
        if name in rows:
            rows[name].append(row)
    return rows


def with_films(patient: PatientScore, rows: Sequence[int], found: Found) -> PatientScore:
    """``patient`` with the first ``FILMS`` of its films."""
    images = found.comparison.images[torch.tensor(rows[:FILMS])]
    return replace(
        patient,
        films=tuple(png(thumbnail(image[None])) for image in images),
        more_films=len(rows[FILMS:]),
    )


def thumbnail(image: Tensor) -> Tensor:
    """[C, h, h] of an image [1, C, H, H], at most ``THUMBNAIL`` pixels wide."""
    return resized(image, min(THUMBNAIL, image.shape[-1]))[0]


def reconstruction_id(row: int) -> str:
    """What the pages call the reconstruction in that row."""
    return f"R{row:03d}"


def nearest_to(patient: int, ranks: Ranks) -> tuple[Nearest, ...]:
    """The ``NEAREST`` reconstructions that rank a patient highest, of ranks [R, P]."""
    column = ranks[:, patient]
    rows = np.argsort(column, kind="stable")[:NEAREST].tolist()
    return tuple(Nearest(reconstruction_id(row), int(column[row])) for row in rows)


def pairs(space: MatchSpace, found: Found, made: Reconstruction) -> tuple[Pair, ...]:
    """The study's figure. First the patients that stand out most, each with the reconstruction that matches them best;
    then the likely samples, each with the film of either cohort that is most similar to it."""
    rows, columns = standing_out(space, found, made)
    rows += found.likely.indices[: len(found.likely.films)].tolist()
    columns += found.likely.films.tolist()
    if not rows:
        return ()
    images, films = made.images[rows[:PAIRS]], found.comparison.images[torch.tensor(columns[:PAIRS])]
    near = cosines(space, images, films).diagonal()
    alike = ssim(images, films)
    return tuple(
        Pair(
            reconstruction=png(image),
            match=png(film),
            ssim=float(alike[i]),
            nn=float(near[i]),
            reconstruction_id=reconstruction_id(rows[i]),
            patient_id=str(found.comparison.patients[columns[i]]),
            member=bool(found.comparison.is_member[columns[i]]),
        )
        for i, (image, film) in enumerate(zip(images, films, strict=True))
    )


def standing_out(space: MatchSpace, found: Found, made: Reconstruction) -> tuple[list[int], list[int]]:
    """Reconstruction and film of the patients with the highest match scores."""
    linked, compared = found.linkage, found.comparison
    if linked.ids is None or linked.scores is None or linked.best is None:
        return [], []
    rows, columns = [], []
    for patient in np.argsort(-linked.scores)[:LEADERS]:
        row = int(linked.best[patient])
        films = np.flatnonzero(compared.patients == linked.ids[patient])
        near = cosines(space, made.images[row : row + 1], compared.images[torch.from_numpy(films)])[0]
        rows.append(row)
        columns.append(int(films[int(near.argmax())]))
    return rows, columns


def grid(task: AttackTask, made: Reconstruction) -> tuple[GridCell, ...]:
    """Untuned samples of the prior beside tuned ones, with the class the audited network sees in each."""
    device = task.space.mean.device
    generator = torch.Generator(device=device).manual_seed(0)
    with torch.no_grad():
        before = task.prior.decode(task.prior.sample_latents(CELLS, generator)).clamp(0.0, 1.0).cpu()
    after = (made.tuned_samples if made.tuned_samples is not None else made.images)[:CELLS]
    cells = []
    for original, tuned in zip(before, after, strict=False):
        (first, p), (second, q) = (predicted(task, image[None].to(device)) for image in (original, tuned))
        cells.append(GridCell(png(original), png(tuned), first, second, p, q))
    return tuple(cells)


def predicted(task: AttackTask, image: Tensor) -> tuple[str, float | None]:
    """Class and confidence of one image [1, C, H, W]; empty for networks without a head."""
    if task.target.match.head == "features":
        return "", None
    with torch.no_grad():
        logits = logits_of(task.target.module(task.inputs(image)))[0]
    if len(logits) == 1:
        chance = float(logits.sigmoid())
        return ("positive", chance) if chance >= 0.5 else ("negative", 1.0 - chance)
    chances = logits.softmax(0)
    return f"class {int(chances.argmax())}", float(chances.max())


def demographic_rows(found: Found) -> tuple[DemographicRow, ...]:
    """Age and sex read from each reconstruction and its nearest training film, beside the truth."""
    return tuple(
        DemographicRow(
            reconstruction_id=reconstruction_id(int(found.read[row.reconstruction])),
            patient_id=str(found.comparison.patients[row.film]),
            age_reconstruction=_known(row.age_reconstruction),
            age_nearest=_known(row.age_nearest),
            age_true=_known(row.age_true),
            sex_reconstruction=row.sex_reconstruction,
            sex_nearest=row.sex_nearest,
            sex_true=row.sex_true,
        )
        for row in found.demographics.readings
    )


def _known(age: float) -> float | None:
    return None if np.isnan(age) else age


def patient_scores(found: Found) -> tuple[PatientScore, ...]:
    """Link score and membership score of every training and hold-out patient, with each one's conformal p."""
    linked, known = found.linkage, found.recognised.outcome
    if linked.ids is None or linked.scores is None or linked.is_member is None or linked.ranks is None:
        return ()
    seen = _by_name(known.ids, known.scores)
    certain = _by_name(known.ids, known.patient_p)
    p = _by_name(linked.ids, linked.patient_p)
    reported = set() if linked.reported is None else set(linked.ids[linked.reported].tolist())
    over = found.recognised.over
    references = {} if over is None else _by_name(over.ids, over.share)
    named = set() if known.ids is None or known.recognised is None else set(known.ids[known.recognised].tolist())
    return tuple(
        PatientScore(
            patient_id=name,
            member=bool(member),
            linkage=float(value),
            linkage_p=p.get(name),
            membership=seen.get(name),
            reidentified=name in reported,
            recognised=name in named,
            membership_p=certain.get(name),
            over_references=references.get(name),
            nearest=nearest_to(number, linked.ranks),
        )
        for number, (name, member, value) in enumerate(
            zip(linked.ids.tolist(), linked.is_member, linked.scores, strict=True)
        )
    )


def _by_name(ids: NDArray[np.str_] | None, values: Floats | None) -> dict[str, float]:
    """Numbers by patient, without those that are NaN."""
    if ids is None or values is None:
        return {}
    return {name: value for name, value in zip(ids.tolist(), values.tolist(), strict=True) if not np.isnan(value)}


def png(image: Tensor) -> bytes:
    """One image [C, H, W] in [0, 1] as PNG bytes."""
    values = (image.clamp(0.0, 1.0).numpy() * 255).round().astype(np.uint8)
    picture = Image.fromarray(values[0]) if len(values) == 1 else Image.fromarray(values.transpose(1, 2, 0))
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()
