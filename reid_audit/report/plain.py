"""What the numbers mean, as sentences for a reader who did not run the audit."""

from __future__ import annotations

import re

from reid_audit.records import METRICS, Family, Metric, Outcome
from reid_audit.report import words
from reid_audit.report.wire import Finding, GateRow, PublicReport

_RECOMPUTE = "Recompute the BatchNorm running statistics on public films and audit the copy."
MITIGATION: dict[str, tuple[str, ...]] = {
    "membership": (
        _RECOMPUTE,
        "Train on more patients, with augmentation, weight decay and early stopping; overfitting is what exposes them.",
        "Train with differential privacy (DP-SGD) where a formal bound is needed.",
        "Keep the weights on site and offer predictions only.",
    ),
    "reconstruction": (
        _RECOMPUTE,
        "Train with GroupNorm or LayerNorm instead: this attack reads the statistics BatchNorm stores.",
        "Do not release a network fine-tuned on a handful of patients; train on more and stop early.",
        "Remove what the file carries beside the weights: optimiser state, EMA copies, names.",
    ),
    "demographics": (
        "Check that training sets of one site or one clinic do not pin down age and sex by themselves.",
        "The measures against reconstruction apply first: what cannot be reconstructed has no age.",
    ),
}
_MITIGATED = {Family.MEMBERSHIP: "membership", Family.DEMOGRAPHICS: "demographics"}


def mitigations(report: PublicReport) -> tuple[str, ...]:
    """What may help against the breaches of this report, without repeats; empty where there are none."""
    found: list[str] = []
    for metric in (*report.verdict.breaches, *report.verdict.waived):
        kind = _MITIGATED.get(METRICS[metric].family, "reconstruction")
        found.extend(text for text in MITIGATION[kind] if text not in found)
    return tuple(found)


_ID = re.compile(r"\b(" + "|".join(sorted((m.value for m in Metric), key=len, reverse=True)) + r")\b")


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
        rows.append((network.name + shown, size, word, stopped(named(network.reason)) + copies + left))
    return tuple(rows)


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


def grouped(report: PublicReport) -> tuple[tuple[Finding, tuple[Metric, ...], str, str], ...]:
    """(first finding, metrics, sentence, remedy) for findings that say the same, in the order of the first."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in report.findings:
        groups.setdefault((finding.kind, sentence(finding, report), remedy(finding)), []).append(finding)
    return tuple(
        (found[0], tuple(f.metric for f in found if f.metric), said, close)
        for (_, said, close), found in groups.items()
    )


def sentence(finding: Finding, report: PublicReport) -> str:
    """A finding in plain words; the judge's own where there is no shorter way to say it."""
    if finding.kind in ("breach", "waived") and finding.metric is not None:
        row = next((g for g in report.gates if g.metric is finding.metric), None)
        plain = _breach(row, report) if row is not None else ""
        if plain:
            return plain.replace(words.METRICS[finding.metric].label, "Reached", 1)
    text = finding.text
    if finding.metric is not None:
        doubt = next((g.doubt for g in report.gates if g.metric is finding.metric), None)
        if finding.kind == "gap" and doubt is not None and "is an indicator here" in text:
            return stopped(f"Measured, but it {words.doubted(doubt)}")
        text = text.replace(f"{finding.metric.value} was not measured", "not measured")
        text = text.replace(f"control {finding.metric.value}:", "reached")
        for sign, word in (("<=", "at most"), (">=", "at least"), ("needed >", "needed above")):
            text = text.replace(sign, word)
    return stopped(named(text))


def remedy(finding: Finding) -> str:
    """What would close a gap, as a sentence; empty where nothing is offered."""
    return "To close it: " + stopped(finding.remedy) if finding.remedy else ""


def bracket_doubt(report: PublicReport) -> str:
    """Why the ends of the bracket do not count in this run; empty where they do."""
    ends = (report.measured(Metric.REIDENTIFIED_PATIENTS), report.measured(Metric.MEMBERSHIP_TPR))
    doubts = dict.fromkeys(end.doubt for end in ends if end is not None and end.doubt is not None)
    return " ".join(f"In this run it {stopped(words.doubted(doubt))}" for doubt in doubts)


def stopped(text: str) -> str:
    """``text`` with a full stop."""
    return text if text.endswith((".", "…", "!", "?")) else f"{text}."


def named(text: str) -> str:
    """``text`` with metric ids replaced by their labels, first letter in upper case."""
    said = _ID.sub(lambda found: words.METRICS[Metric(found[0])].label, text)
    return said[:1].upper() + said[1:]


def _ranked(report: PublicReport) -> list[str]:
    """Sentences of the breaches, people before numbers about images."""
    order = (Metric.SINGLE_HIT, Metric.LINKAGE_P, Metric.LINKAGE_TPR, Metric.MEMBERSHIP_TPR)
    rows = [g for g in report.gates if g.metric in report.verdict.breaches]
    rows.sort(key=lambda g: order.index(g.metric) if g.metric in order else len(order))
    return [_breach(row, report) for row in rows]


def _breach(row: GateRow, report: PublicReport) -> str:
    """One sentence for a gate beyond its threshold; empty where its number is hidden or missing."""
    limit = row.clear if row.limit == "clear" else row.fail
    if row.compared is None or limit is None:
        return ""
    unit = words.METRICS[row.metric].unit
    reached, allowed = words.number(row.compared, unit, (limit,)), words.threshold(limit, unit)
    if row.metric is Metric.LINKAGE_P:
        found = words.recovered(report)
        lead = f"{found[0]} of {found[1]} training patients were re-identified" if found and found[0] else ""
        lead = lead or "Reconstructions match training patients too closely for chance"
        return f"{lead} (p {reached}; the policy fails at {allowed})."
    if row.metric is Metric.MEMBERSHIP_TPR:
        least = "at least " if row.low is not None else ""
        return f"The weights give away {least}{reached} of the training patients; the policy allows {allowed}."
    if row.metric is Metric.SINGLE_HIT:
        return f"{reached} reconstructions name one training patient on their own; the policy allows {allowed}."
    beyond = " over the control" if row.basis == "excess" else ""
    return f"{words.METRICS[row.metric].label} {reached}{beyond}; the policy allows {allowed}."


_SOURCES = {
    "shipped": "the shipped predictor",
    "given": "a given predictor",
    "fitted": "a predictor fitted in this audit",
}


_SIDES = {"reference": "training", "holdout": "hold-out"}


def films(report: PublicReport) -> tuple[str, ...]:
    """How each side was read: films, files, what was left out, grey values. One line a side."""
    lines = []
    for side in report.cohorts:
        source = f" from {side.read_from} files" if side.read_from else ""
        said = [f"{side.images} {_SIDES[side.role]} films{source}"]
        if not side.known_patients:
            said.append("no patient ids, so each file counts as a patient")
        if side.left_out:
            said.append("left out: " + ", ".join(f"{count} {why}" for why, count in side.left_out))
        lines.append("; ".join((*said, *side.grey_values)))
    return tuple(lines)


def reader(report: PublicReport) -> str:
    """What read age and sex, and how well, in one or two sentences; empty where nothing did."""
    used = report.predictor
    if used is None:
        return ""
    sets = "; ".join(used.declared_training_sets) or "undeclared films"
    text = f"Read by {_SOURCES[used.source]}, fitted on {used.images} films of {used.patients} patients ({sets})."
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
