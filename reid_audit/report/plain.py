"""What the numbers mean, as sentences for a reader who did not run the audit."""

from __future__ import annotations

from reid_audit.records import COHORTS, METRICS, Family, Metric, Outcome, Unit
from reid_audit.report import wording, words
from reid_audit.report.advice import Kind, advice, vain
from reid_audit.report.wire import Finding, PublicNetwork, PublicReport
from reid_audit.report.wording import Wording, named, stopped

GENERAL: dict[str, tuple[str, ...]] = {
    "membership": (
        "Train on more patients, with augmentation, weight decay and early stopping; overfitting is what exposes them.",
        "Train with differential privacy (DP-SGD) where a formal bound is needed.",
        "Keep the weights on site and offer predictions only.",
    ),
    "reconstruction": (
        "Train with GroupNorm or LayerNorm instead: this attack reads the statistics BatchNorm stores.",
        "Do not release a network fine-tuned on a handful of patients; train on more and stop early.",
        "Remove what the file carries beside the weights: optimiser state, EMA copies, names.",
    ),
    "demographics": (
        "Check that training sets of one site or one clinic do not pin down age and sex by themselves.",
        "The measures against reconstruction apply first: what cannot be reconstructed has no age.",
    ),
}
"""What stands to reason, after what was measured."""
_MITIGATED = {Family.MEMBERSHIP: "membership", Family.DEMOGRAPHICS: "demographics"}


def mitigations(report: PublicReport) -> tuple[str, ...]:
    """What may help against the breaches of this report, without repeats: what was measured to help against that kind
    of breach on such a network, then what stands to reason, then what was tried in vain. Empty where there are no
    breaches."""
    found, kinds = list[str](), dict[Kind, None]()
    people = words.people(report, "reference") or 1
    for metric in (*report.verdict.breaches, *report.verdict.waived):
        kind = _MITIGATED.get(METRICS[metric].family, "reconstruction")
        measured: Kind = "membership" if kind == "membership" else "reconstruction"
        kinds[measured] = None
        tried = advice(measured, people, statistics=report.architecture.data_statistics > 0)
        found += [text for text in (*tried, *GENERAL[kind]) if text not in found]
    return (*found, *vain(kinds, people))


def headline(report: PublicReport) -> str:
    """The reason for the verdict in one sentence or two."""
    verdict = report.verdict
    if verdict.outcome is Outcome.FAIL:
        name = next((n.name for n in report.networks if n.shown and len(report.networks) > 1), "")
        said = [f"Network {name}: {text}" if name else text for text in _ranked(report) if text]
        more = len(verdict.breaches) - len(said[:2])
        rest = f" {more} more {'gate is' if more == 1 else 'gates are'} breached." if more and said else ""
        return " ".join(said[:2]) + rest if said else named(verdict.reason)
    if verdict.outcome is Outcome.INCONCLUSIVE and verdict.gaps:
        count = len(verdict.gaps)
        pieces = "1 piece of evidence for a pass is" if count == 1 else f"{count} pieces of evidence for a pass are"
        return f"No gate was breached, but {pieces} missing."
    return named(verdict.reason)


def meaning(report: PublicReport) -> str:
    """What the verdict says and, for a pass, what stands behind it."""
    text = words.OUTCOME_MEANING[report.verdict.outcome]
    if report.verdict.screening:
        return f"{text} A screening sees the weights only: without films no figure below is calibrated."
    if report.verdict.outcome is not Outcome.PASS:
        return text
    power = next((c.status for c in report.controls if c.name == "attack_power"), None)
    if power == "met":
        return "Nothing was found at this budget, and the same attack was shown to find planted patients."
    if report.references is not None and not report.architecture.data_statistics and power == "not_required":
        return f"{text} It rests on membership: beside the same references the planted patients were found."
    return f"{text} That the attack can find patients was not shown, and the policy did not ask for it."


def networks(report: PublicReport) -> tuple[tuple[str, str, str, str], ...]:
    """(where in the file, which network, verdict, why) of every network; empty where the file holds one."""
    rows = []
    for network in report.networks:
        shown = " (shown below)" if network.shown and len(report.networks) > 1 else ""
        known = f"{network.architecture} ({network.library})" if network.architecture else "not known"
        size = f"{known}, {network.parameters:,} parameters"
        copies = f" The same weights: {'; '.join(network.copies)}." if network.copies else ""
        left = f" Not run: {', '.join(network.beside)}." if network.beside else ""
        word = words.OUTCOME_WORD[network.outcome]
        rows.append((network.name + shown, size, word, network_reason(network) + copies + left))
    return tuple(rows)


def network_reason(network: PublicNetwork) -> str:
    """Why a network has its verdict, as a sentence with labels for ids."""
    return stopped(named(network.reason))


def left_out(report: PublicReport) -> tuple[str, ...]:
    """Tensors that were not run: those of the network's own state_dict, and those in no network."""
    rows = (
        ("left out", report.architecture.left_out, report.architecture.left_out_count),
        ("in no network", report.checkpoint.beside, report.checkpoint.beside_count),
    )
    return tuple(
        f"{what}: {', '.join(names)}{f' and {count - len(names)} more' if count > len(names) else ''}"
        for what, names, count in rows
        if names
    )


def grouped(report: PublicReport) -> tuple[tuple[Finding, tuple[Wording, ...]], ...]:
    """(first finding, wordings) for findings that say the same, in the order of the first."""
    groups: dict[tuple[str, str], list[tuple[Finding, Wording]]] = {}
    for finding in report.findings:
        said = wording.of_finding(finding, report)
        groups.setdefault((finding.kind, said.whole), []).append((finding, said))
    return tuple((found[0][0], tuple(said for _, said in found)) for found in groups.values())


def labels(group: tuple[Wording, ...]) -> str:
    """What a group of findings is about."""
    return "; ".join(said.label for said in group if said.label)


def share(report: PublicReport) -> str:
    """What the attack re-identified and what the weights could give away, in the words and figures of the headline."""
    found, seen = words.recovered(report), report.measured(Metric.MEMBERSHIP_TPR)
    said = []
    if found is not None:
        said.append(f"The reconstructions of this attack re-identified {found[0]} of {found[1]} training patients.")
    if seen is not None:
        beside = next((row.limits for row in report.gates if row.metric is Metric.MEMBERSHIP_TPR), (seen.threshold,))
        spread = words.interval(seen.low, seen.high, "share", beside)
        about = f" (interval {spread})" if spread else ""
        said.append(f"{wording.recognised(words.number(seen.value, 'share', beside), about)}.")
    if len(said) == 2:
        said.append("The two figures answer different questions: what can be drawn from the weights, and who was in.")
    return " ".join((*said, bracket_doubt(report))).rstrip()


Points = tuple[tuple[str, Metric], ...]
"""Figures of one row of the distribution shift, each under its column."""
FIDS: Points = (("original", Metric.FID_PRIOR_REFERENCE), ("tuned", Metric.FID_TUNED_REFERENCE))
SHIFTS: tuple[tuple[str, Unit, Points], ...] = (
    (
        "Pixel entropy (bits)",
        "bits",
        (
            ("original", Metric.PIXEL_ENTROPY_PRIOR),
            ("tuned", Metric.PIXEL_ENTROPY_TUNED),
            ("reference", Metric.PIXEL_ENTROPY_REFERENCE),
        ),
    ),
    (
        "PCA kurtosis",
        "score",
        (
            ("original", Metric.PCA_KURTOSIS_PRIOR),
            ("tuned", Metric.PCA_KURTOSIS_TUNED),
            ("reference", Metric.PCA_KURTOSIS_REFERENCE),
        ),
    ),
    ("FID to the reference", "score", FIDS),
)
"""Rows of the distribution shift."""


def fid_floor(report: PublicReport) -> float | None:
    """What the FID is between two sets of as many images of one kind; None where it was not measured."""
    return max((floor for _, floor in _fids(report)), default=None)


def fid_note(report: PublicReport) -> str:
    """What the FIDs can tell beside their floor, in one or two sentences; empty without a floor."""
    found, floor = _fids(report), fid_floor(report)
    if floor is None:
        return ""
    text = (
        f"Two sets of as many images of one kind have an FID of {floor:.1f}: distances below it cannot be told apart."
    )
    below = sum(value <= own for value, own in found)
    if below == len(found):
        return f"{text} All FIDs of this run are below it, so they say nothing about the move."
    return f"{text} {below} of {len(found)} FIDs of this run is below it." if below else text


def _fids(report: PublicReport) -> list[tuple[float, float]]:
    """(FID, its floor) of those that have one."""
    measured = (report.measured(metric) for _, metric in FIDS)
    return [(m.value, m.control) for m in measured if m is not None and m.control is not None]


def missing(report: PublicReport, points: Points) -> str:
    """Why some of the named figures have no number: ``tuned, reference: reason``; empty where all have one."""
    why: dict[str, list[str]] = {}
    for word, metric in points:
        if report.measured(metric) is None:
            why.setdefault(words.absent(report, metric) or "not computed in this run", []).append(word)
    return "; ".join(f"{', '.join(named)}: {reason}" for reason, named in why.items())


def bracket_doubt(report: PublicReport) -> str:
    """Why the ends of the bracket do not count in this run; empty where they do."""
    ends = (report.measured(Metric.REIDENTIFIED_PATIENTS), report.measured(Metric.MEMBERSHIP_TPR))
    doubts = dict.fromkeys(end.doubt for end in ends if end is not None and end.doubt is not None)
    return " ".join(f"In this run it {stopped(words.doubted(doubt))}" for doubt in doubts)


def _ranked(report: PublicReport) -> list[str]:
    """Sentences of the breaches, people before numbers about images."""
    order = (Metric.SINGLE_HIT, Metric.LINKAGE_P, Metric.LINKAGE_TPR, Metric.MEMBERSHIP_TPR)
    rows = [g for g in report.gates if g.metric in report.verdict.breaches and g.value is not None]
    rows.sort(key=lambda g: order.index(g.metric) if g.metric in order else len(order))
    said = [wording.of_gate(row, report) for row in rows]
    return [
        one.sentence if wording.speaks(row) else f"{one.label}: {one.sentence}"
        for row, one in zip(rows, said, strict=True)
    ]


_SOURCES = {
    "shipped": "the shipped predictor",
    "given": "a given predictor",
    "fitted": "a predictor fitted in this audit",
}


def films(report: PublicReport) -> tuple[str, ...]:
    """How each cohort was read: films, files, what was left out, grey values. One line for each."""
    lines = []
    for cohort in report.cohorts:
        source = f" from {cohort.read_from:,} files" if cohort.read_from else ""
        said = [f"{cohort.images:,} {COHORTS[cohort.role]} films{source}"]
        if not cohort.known_patients:
            said.append("no patient ids, so each file counts as a patient")
        if cohort.left_out:
            said.append("left out: " + ", ".join(f"{count} {why}" for why, count in cohort.left_out))
        lines.append("; ".join((*said, *cohort.grey_values)))
    return tuple(lines)


def encoder(report: PublicReport) -> str:
    """What compared reconstructions with films a second time, and how sharp it is; empty where nothing did."""
    used = report.encoder
    if used is None:
        return ""
    text = f"Compared once more by {used.architecture} at {used.side} px, {used.dimensions:,} numbers a film."
    if used.found is not None and used.chance is not None:
        found, chance = (words.number(share, "share") for share in (used.found, used.chance))
        text += f" It finds {found} of degraded films (chance {chance})."
    return text


def predictor(report: PublicReport) -> str:
    """What read age and sex, and how well, in one or two sentences; empty where nothing did."""
    used = report.predictor
    if used is None:
        return ""
    sets = "; ".join(used.declared_training_sets)
    sets = sets or ("films of the prior" if used.source == "fitted" else "undeclared films")
    text = f"Read by {_SOURCES[used.source]}, fitted on {used.images:,} films of {used.patients:,} patients ({sets})."
    figures = []
    if used.age_mae is not None and used.age_mae_base is not None:
        figures.append(f"age error {used.age_mae:.1f} years (guessing {used.age_mae_base:.1f})")
    if used.sex_auc is not None:
        figures.append(f"sex AUC {used.sex_auc:.2f}")
    if figures:
        text += f" Measured on {used.measured_on}: {', '.join(figures)}."
    if used.overlap == "unknown":
        text += " Whether it has seen these patients is not known, so its figures do not decide."
    return text
