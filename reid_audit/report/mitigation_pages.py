"""A mitigated checkpoint as Markdown, HTML and JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from reid_audit.records import CONTROLS, METRICS, MitigationEffect, Outcome, UtilityMissing
from reid_audit.report import compare_pages, words
from reid_audit.report.json import dumps
from reid_audit.report.markdown import MARK, inert
from reid_audit.report.mitigation import Blind, ControlPair, MitigationDocument, PublicMitigation, sees
from reid_audit.report.templating import page

EFFECT: dict[MitigationEffect, str] = {
    "replaces": (
        "Statistics were replaced, so the attack on them has nothing to read: that it finds nobody says nothing. "
        "Membership decides, asked of the answers."
    ),
    "blunts": (
        "What the attack reads is less exact, while the planted patients of the controls are read without that: such a "
        "copy cannot pass where the original did not."
    ),
    "hides": (
        "What the attack reads was taken out of sight, not out of the weights: such a copy cannot pass where the "
        "original did not, and its figures read less than before."
    ),
    "trims": "What lay beside the network was left out. The network is the same, and so is all it gives away.",
}
BLIND: dict[Blind, str] = {
    "nothing_to_read": "decides nothing: the statistics were replaced",
    "out_of_sight": "decides nothing: what is read was hidden",
    "answers_alone": "{says}; the copy is asked by its answers alone",
}
UNSEEN = (
    "The membership score was not shown to find planted patients in the copy: that it finds few of the training "
    "patients there shows nothing."
)
OUT_OF_SIGHT = "That they are recognised less often shows what became of the score, not of the weights."
UTILITY = {"accuracy": "Accuracy", "auc": "Area under the ROC curve", "loss": "Loss (nats)", "error": "Absolute error"}
NO_UTILITY: dict[UtilityMissing, str] = {
    "no_labels": (
        "Not measured: the training labels of the hold-out films are not known. Name their column with --label; "
        "several findings at once and dense outputs have none that fits."
    ),
    "no_answers": "Not measured: the copy gives features and no answers.",
}
DIFFERENCE = (
    "The same hold-out films before and after; the change is drawn over the same patients for both, with its 95 % "
    "interval."
)

Row = tuple[str, ...]


def headline(found: MitigationDocument) -> str:
    """What became of the verdict, in one line."""
    old, new = (words.OUTCOME_WORD[one.outcome] for one in (found.comparison.old, found.comparison.new))
    return f"{old} before, {new} after"


def meaning(found: MitigationDocument) -> str:
    """What the verdict on the copy rests on."""
    said = [words.OUTCOME_MEANING[found.outcome]]
    if found.comparison.breaches_gone and found.outcome is not Outcome.PASS:
        gone = "; ".join(METRICS[metric].label for metric in found.comparison.breaches_gone)
        said.append(f"No longer seen to be breached: {gone}. That alone does not make the copy safe.")
    if found.networks > 1:
        said.append(
            f"The original's file held {found.networks} networks, and its verdict is on all; the copy holds one."
        )
    if found.alone is not found.outcome:
        said.append(
            f"An audit of the copy alone would say {words.OUTCOME_WORD[found.alone]}: it does not know what was done."
        )
    return " ".join(said)


def effects(found: MitigationDocument) -> tuple[str, ...]:
    """What the mitigations do to the evidence, once each; nothing of statistics where there were none to replace."""
    kinds = dict.fromkeys(one.effect for one in found.applied)
    said = tuple(EFFECT[kind] for kind in kinds if kind != "replaces" or found.statistics_replaced)
    return said if sees(found) or found.outcome is Outcome.FAIL else (*said, UNSEEN)


def utility(found: MitigationDocument) -> tuple[Row, ...]:
    """(what, before, after, change), each with its interval."""
    rows = []
    for one in found.utility:
        sides = ((one.before, one.before_low, one.before_high), (one.after, one.after_low, one.after_high))
        before, after = (f"{value:.3f} ({low:.3f} to {high:.3f})" for value, low, high in sides)
        change = f"{one.change:+.3f} ({one.low:+.3f} to {one.high:+.3f})"
        rows.append((UTILITY[one.name], *(text.replace("-", "−") for text in (before, after, change))))
    return tuple(rows)


def figures(found: MitigationDocument) -> tuple[compare_pages.Line, ...]:
    """Every figure of a leak, in words; one that decides nothing says so instead of what moved."""
    lines = []
    for one in found.figures:
        line = compare_pages.line_of(one.figure)
        if one.blind:
            line = line._replace(says=BLIND[one.blind].format(says=line.says))
        lines.append(line if one.blind in ("", "answers_alone") else line._replace(plot=Markup("")))
    return tuple(lines)


def controls(found: MitigationDocument) -> tuple[Row, ...]:
    """(control, before, after)."""
    return tuple((CONTROLS[pair.name].label, *_statuses(pair)) for pair in found.controls)


def planted(found: MitigationDocument) -> str:
    """What became of patients that were planted before the mitigations; empty where nobody was."""
    one = found.carried
    if one is None:
        return ""
    before, after = (words.number(share, "share") for share in (one.before, one.after))
    said = (
        f"{one.patients} hold-out patients were planted into a copy of the original, which then went the same way. At "
        f"1 % false alarms the membership score recognised {before} of them before and {after} after."
    )
    hidden = any(each.effect in ("hides", "blunts") for each in found.applied) and one.after < one.before
    return f"{said} {OUT_OF_SIGHT}" if hidden else said


def _statuses(pair: ControlPair) -> Row:
    return words.CONTROL_WORD[pair.before.status], words.CONTROL_WORD[pair.after.status]


def conditions(found: MitigationDocument) -> tuple[compare_pages.Row, ...]:
    """(what, before, after) of what is not like for like between the two audits."""
    return compare_pages.conditions(found.comparison)


def render_markdown(found: MitigationDocument) -> str:
    """GitHub-flavoured Markdown; the verdict on the copy first."""
    old, new = found.comparison.old, found.comparison.new
    sides = [
        f"- original: checkpoint `{old.checkpoint_sha256[:16]}`, {words.OUTCOME_WORD[old.outcome]}",
        f"- copy: checkpoint `{new.checkpoint_sha256[:16]}`, {words.OUTCOME_WORD[new.outcome]}",
    ]
    moved = [(line.label, _cell(line.old), _cell(line.new), _cell(line.change), line.says) for line in figures(found)]
    head = ("Figure", "Before", "After", "Change", "What it says")
    blocks = [
        f"## {MARK[found.outcome]} Mitigated copy: {inert(headline(found))}",
        inert(meaning(found)),
        "\n".join(sides),
        "### What was done\n\n" + "\n".join(_applied(one) for one in found.applied),
        "\n".join(f"- {inert(text)}" for text in effects(found)),
        _missing(found),
        "### Utility\n\n" + (_table(("", "Before", "After", "Change"), utility(found)) or missing_utility(found)),
        _section("Membership and linkage", head, moved),
        planted(found),
        _section("Controls", ("Control", "Before", "After"), controls(found)),
        "### What it does not protect from\n\n" + "\n".join(f"- {inert(text)}" for text in remains(found)),
        _section("Not like for like", ("What", "Before", "After"), conditions(found)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def render_html(found: MitigationDocument) -> str:
    """One offline page in the style of the report; no script, no outside request."""
    return page(
        "mitigation.html.j2",
        d=found,
        c=found.comparison,
        title=headline(found),
        meaning=meaning(found),
        outcome=words.OUTCOME_WORD,
        effects=effects(found),
        utility=utility(found),
        no_utility=missing_utility(found),
        difference=DIFFERENCE,
        lines=figures(found),
        at_once=compare_pages.AT_ONCE,
        controls=controls(found),
        planted=planted(found),
        remains=remains(found),
        conditions=conditions(found),
        missing=missing(found),
    )


RENDERERS: dict[str, tuple[str, Callable[[MitigationDocument], str]]] = {
    "html": ("mitigation.html", render_html),
    "json": ("mitigation.json", dumps),
    "markdown": ("mitigation.md", render_markdown),
}
"""Format -> (file, renderer)."""


def remains(found: MitigationDocument) -> tuple[str, ...]:
    """What no mitigation of the copy protects from, each once."""
    said = [f"{one.name}: {text}" for one in found.applied for text in one.remains]
    return (*said, *words.NOT_A_PASS) if found.outcome is Outcome.PASS else tuple(said)


def missing_utility(found: MitigationDocument) -> str:
    """Why there is no utility; empty where there is."""
    return NO_UTILITY[found.utility_missing] if found.utility_missing else ""


def _applied(one: PublicMitigation) -> str:
    return f"- **{inert(one.name)}**: {inert(one.idea)} Here: {inert(one.done)}. ({inert(one.source)})"


def _missing(found: MitigationDocument) -> str:
    if not found.missing or found.outcome is Outcome.FAIL:
        return ""
    lines = [f"- {inert(text)} {inert(advice)}" for text, advice in missing(found)]
    return "### What a pass of the copy lacks\n\n" + "\n".join(lines)


def missing(found: MitigationDocument) -> tuple[tuple[str, str], ...]:
    """(what a pass of the copy lacks, what would supply it)."""
    return tuple(
        (f"{gap.label}: {gap.sentence} {gap.cause}".strip(": "), gap.advice) for gap in found.missing
    )  # fmt: skip


def _cell(cell: compare_pages.Cell) -> str:
    return f"{cell[0]} ({cell[1]})" if cell[1] else cell[0]


def _section(title: str, head: Sequence[str], rows: Sequence[Row]) -> str:
    return f"### {title}\n\n{_table(head, rows)}" if rows else ""


def _table(head: Sequence[str], rows: Sequence[Row]) -> str:
    return "\n".join(compare_pages.table_rows(tuple(head), rows)) if rows else ""
