"""Of the file and its network, what is published."""

from __future__ import annotations

from reid_audit.checkpoint.unwrap import shown
from reid_audit.records import ArchMatch, AuditResult
from reid_audit.report.publication.texts import scrub, word
from reid_audit.report.wire import (
    PublicArchitecture,
    PublicCandidate,
    PublicCheckpoint,
    PublicPreprocess,
    PublicPreprocessFit,
)

NAMED = 24
"""Tensors that lie beside a network and are listed by name."""


def public_checkpoint(result: AuditResult) -> PublicCheckpoint:
    """The file without its name; names of tensors only where they look like code."""
    c = result.checkpoint
    return PublicCheckpoint(
        sha256=c.sha256,
        format=scrub(c.format, 120),
        bytes=c.bytes,
        tensors=c.tensors,
        parameters=c.parameters,
        dtypes=c.dtypes,
        wrapper=word(c.wrapper, "other") if c.wrapper else "",
        findings=tuple(scrub(f) for f in c.findings),
        beside=tuple(scrub(name, 120) for name in c.beside[:NAMED]),
        beside_count=len(c.beside),
    )


def public_architecture(a: ArchMatch) -> PublicArchitecture:
    """The network and how well it explains the keys."""
    return PublicArchitecture(
        name=a.name,
        library=a.library,
        family=a.family,
        key_coverage=a.coverage,
        found_by=a.by,
        candidates=tuple(
            PublicCandidate(name=c.name, library=c.library, key_coverage=c.coverage) for c in a.candidates[:5]
        ),
        missing_keys=a.missing_keys,
        unexpected_keys=a.unexpected_keys,
        normalisation=a.normalisation,
        data_statistics=a.data_statistics,
        head=a.head,
        classes=a.classes,
        input=(a.channels, a.side, a.side),
        left_out=tuple(scrub(shown((name,)), 120) for name in a.unused[:NAMED]),
        left_out_count=len(a.unused),
        untouched_statistics=a.untouched_statistics,
        input_by=a.side_by,
    )


def public_preprocess(result: AuditResult) -> PublicPreprocess:
    """How films became network input, and the ways that were tried."""
    p, fit = result.preprocess, result.preprocess_fit
    best = result.preprocess_fitting_training_films or (None if fit is None else fit.best)
    return PublicPreprocess(
        decided_by=result.preprocess_by,
        resize_to=p.resize_to,
        fitted_by=None if fit is None else fit.by,
        fitted_on=0 if fit is None else fit.films,
        best="" if best is None else best.toml(),
        tried=tuple(
            PublicPreprocessFit(toml=c.spec.toml(), misfit=c.misfit, augmentation=c.augmentation)
            for c in (() if fit is None else fit.candidates[:8])
        ),
        keep=p.keep,
        resize=p.resize,
        crop=p.crop,
        interpolation=p.interpolation,
        turn=p.turn,
        per_film=p.per_film,
        mean=p.mean,
        std=p.std,
        invert=p.invert,
        scaling=None if p.scaling is None else p.scaling.toml(),
    )
