"""``report.sarif``: SARIF 2.1.0 for code-scanning pages."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from reid_audit.records import Metric, Outcome
from reid_audit.report import wording, words
from reid_audit.report.wire import Finding, PublicReport

REPORT = "report.md"
"""Where findings are read when no repository is known to hold the weights: beside the SARIF file itself."""
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVEL = {"breach": "error", "waived": "note", "gap": "warning", "warning": "note"}


def render_sarif(report: PublicReport) -> str:
    """One run; a result for each breach, waiver and gap, on line 1 of the weights as the repository knows them, else of
    the report (GitHub rejects results without a physical location and a fingerprint)."""
    findings = [f for f in report.findings if f.kind != "warning"]
    rules = sorted({_rule(f) for f in findings})
    run = {
        "tool": {
            "driver": {
                "name": "reid-audit",
                "version": report.tool.version,
                "rules": [_describe(rule, report) for rule in rules],
            }
        },
        "automationDetails": {"id": f"reid-audit/{_weights(report) or report.checkpoint.sha256}/"},
        "invocations": [_invocation(report)],
        "columnKind": "utf16CodeUnits",
        "results": [_result(f, rules, report) for f in findings],
        "properties": {
            "verdict": report.verdict.outcome.value,
            "checkpointSha256": report.checkpoint.sha256,
            "networks": {network.name: network.outcome.value for network in report.networks},
        },
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _weights(report: PublicReport) -> str:
    """The declared name of the weights as a URI; empty where there is none, or one that was not fit to be published."""
    name = report.declared.weights
    return "" if "[file]" in name or name.endswith("…") else quote(name)


def _invocation(report: PublicReport) -> dict[str, Any]:
    """The run itself; only a crash or a refusal is unsuccessful."""
    ran = report.verdict.outcome not in (Outcome.NOT_AUDITED, Outcome.REFUSED)
    return {"executionSuccessful": ran, "exitCode": report.verdict.exit_code}


def _rule(finding: Finding) -> str:
    return finding.metric.value if finding.metric else "network" if finding.kind == "breach" else "evidence"


def _describe(rule: str, report: PublicReport) -> dict[str, Any]:
    if rule == "evidence":
        return {"id": rule, "shortDescription": {"text": "Evidence the policy asks for is missing"}}
    if rule == "network":
        return {"id": rule, "shortDescription": {"text": "A further network of the file breaches a gate"}}
    metric = Metric(rule)
    return {
        "id": rule,
        "shortDescription": {"text": words.METRICS[metric].label},
        "fullDescription": {"text": words.meaning(report, metric)},
        "help": {"text": f"See {words.METRICS[metric].page} in the repository of reid-audit."},
    }


def _place(report: PublicReport) -> dict[str, Any]:
    weights = _weights(report)
    if weights:
        return {"uri": weights, "uriBaseId": "%SRCROOT%"}
    return {"uri": REPORT, "description": {"text": "The report beside this file; the weights have no declared name."}}


def _result(finding: Finding, rules: list[str], report: PublicReport) -> dict[str, Any]:
    rule = _rule(finding)
    text = wording.of_finding(finding, report).line
    identity = f"{rule}|{finding.kind}|{'' if finding.metric else finding.text}|{report.checkpoint.sha256}"
    result: dict[str, Any] = {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "level": _LEVEL[finding.kind],
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _place(report),
                    "region": {"startLine": 1},
                }
            }
        ],
        "partialFingerprints": {"gateAndCheckpoint/v1": hashlib.sha256(identity.encode()).hexdigest()},
    }
    if finding.kind == "waived":
        waiver = next((g.waiver for g in report.gates if g.metric is finding.metric), None)
        reason = f"{waiver.reason} ({waiver.approved_by}, until {waiver.expires})" if waiver else "waived"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": reason}]
    return result
