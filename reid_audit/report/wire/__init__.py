"""The versioned public document. Only this type reaches a renderer, and no field of it can hold a patient.

Schema evolution: within ``reid-audit/report/2`` fields may be added with a default, and enumerations may gain words;
none is removed, renamed or given another meaning. Readers ignore fields they do not know. Anything else is ``/3``.
"""

from reid_audit.report.wire.base import MAX_POINTS, Digests, Label, Points, Sentence, Table, Tally, Wire
from reid_audit.report.wire.document import SCHEMA, SCHEMA_1, PublicReport
from reid_audit.report.wire.evidence import (
    PublicAttackRun,
    PublicCurve,
    PublicHistogram,
    PublicMeasured,
    PublicMeasurement,
    PublicOverReferences,
    PublicSubgroup,
    PublicUnmeasured,
)
from reid_audit.report.wire.judgement import (
    ControlRow,
    Finding,
    GateRow,
    PublicCorroboration,
    PublicNetwork,
    PublicVerdict,
    PublicWaiver,
)
from reid_audit.report.wire.means import (
    PublicCohort,
    PublicEncoder,
    PublicPredictor,
    PublicPrior,
    PublicReferences,
    PublicTool,
)
from reid_audit.report.wire.settings import PublicBudget, PublicDeclared, PublicOption, PublicReduced, Seeds
from reid_audit.report.wire.subject import (
    PublicArchitecture,
    PublicCandidate,
    PublicCheckpoint,
    PublicPreprocess,
    PublicPreprocessFit,
)

__all__ = [
    "MAX_POINTS",
    "SCHEMA",
    "SCHEMA_1",
    "ControlRow",
    "Digests",
    "Finding",
    "GateRow",
    "Label",
    "Points",
    "PublicArchitecture",
    "PublicAttackRun",
    "PublicBudget",
    "PublicCandidate",
    "PublicCheckpoint",
    "PublicCohort",
    "PublicCorroboration",
    "PublicCurve",
    "PublicDeclared",
    "PublicEncoder",
    "PublicHistogram",
    "PublicMeasured",
    "PublicMeasurement",
    "PublicNetwork",
    "PublicOption",
    "PublicOverReferences",
    "PublicPredictor",
    "PublicPreprocess",
    "PublicPreprocessFit",
    "PublicPrior",
    "PublicReduced",
    "PublicReferences",
    "PublicReport",
    "PublicSubgroup",
    "PublicTool",
    "PublicUnmeasured",
    "PublicVerdict",
    "PublicWaiver",
    "Seeds",
    "Sentence",
    "Table",
    "Tally",
    "Wire",
]
