"""CONTRIBUTING.md's checklists are true: a dummy of each kind is one file and one line of a registry.

Each test adds its dummy to a copy of the package's sources and asks the copy, in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "reid_audit"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package with its data linked."""
    for path in PACKAGE.rglob("*"):
        place = tmp_path / "reid_audit" / path.relative_to(PACKAGE)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif path.suffix == ".py":
            shutil.copyfile(path, place)
        elif path.suffix != ".pyc":
            place.symlink_to(path)
    if (PACKAGE.parent / "templates").is_dir():
        (tmp_path / "templates").symlink_to(PACKAGE.parent / "templates")
    return tmp_path / "reid_audit"


def register(path: Path, after: str, line: str) -> None:
    """Put one line of a registry after the line that begins with ``after``."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (place,) = [number for number, text in enumerate(lines) if text.strip().startswith(after)]
    path.write_text("".join((*lines[: place + 1], line + "\n", *lines[place + 1 :])), encoding="utf-8")


def asked(copy: Path, code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(copy.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=copy.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_attack_is_one_file_and_one_line(copy: Path) -> None:
    (copy / "attack" / "dummy.py").write_text("def dummy(task, *, generator, meter, observer):\n    return 'made'\n")
    register(copy / "attack" / "methods.py", 'Method("pixel"', '    Method("dummy", "dummy:dummy"),')
    said = asked(
        copy,
        "from click.testing import CliRunner\n"
        "from reid_audit.cli.check import check\n"
        "print(CliRunner().invoke(check, ['--help']).output)\n"
        "from reid_audit.checking.options import CheckOptions\n"
        "CheckOptions(checkpoint='model.pt', method='dummy')\n"
        "from reid_audit.audit.request import AuditRequest\n"
        "asked = AuditRequest(checkpoint='model.pt', policy_sha256='0' * 64, method='dummy')\n"
        "from reid_audit.attack.methods import METHODS\n"
        "print(METHODS[asked.method](None, generator=None, meter=None, observer=None))\n",
    )
    assert "dummy" in said
    assert said.endswith("made\n")


def test_a_report_format_is_one_file_and_one_line(copy: Path) -> None:
    (copy / "report" / "dummy.py").write_text("def render_dummy(report):\n    return report.verdict.outcome.value\n")
    register(
        copy / "report" / "__init__.py", 'ReportFormat("sarif"', '    ReportFormat("dummy", "d.txt", render_dummy),'
    )
    register(copy / "report" / "__init__.py", "from dataclasses", "from reid_audit.report.dummy import render_dummy")
    golden = PACKAGE.parent / "tests" / "report" / "golden" / "passing.json"
    said = asked(
        copy,
        "from reid_audit.cli import exit_code\n"
        f"assert exit_code(['render', {str(golden)!r}, '--format', 'dummy']) == 0\n"
        f"assert exit_code(['render', {str(golden)!r}, '--out', 'again']) == 0\n"
        "from pathlib import Path\n"
        "print(Path('again/d.txt').read_text())\n",
    )
    assert said.startswith("pass")
    assert said.endswith("pass\n")


FAMILY = """
import torch
from torch import nn
from reid_audit.arch.families.base import Family, Recipe


class Dummy(nn.Module):
    def __init__(self):
        super().__init__()
        self.dummy_stem, self.dummy_head = nn.Conv2d(1, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        return self.dummy_head(self.dummy_stem(x).mean((2, 3)))


def read(given):
    return Recipe(
        name="Dummy", build=Dummy, state=given.own, used=len(given.own), channels=1, classes=2, head="softmax",
        side=given.side or 16,
    )


FAMILIES = (Family("dummy", "Dummy", (r"dummy_stem\\.weight", r"dummy_head\\.weight"), read),)
"""


def test_an_architecture_is_one_file_and_one_line(copy: Path) -> None:
    (copy / "arch" / "families" / "dummy.py").write_text(FAMILY)
    table = copy / "arch" / "families" / "table.py"
    register(table, "*nnunet.FAMILIES", "    *dummy.FAMILIES,")
    register(table, "from reid_audit.arch.near", "from reid_audit.arch.families import dummy")
    said = asked(
        copy,
        "import torch\n"
        "from reid_audit.arch.families.dummy import Dummy\n"
        "from reid_audit.arch.identify import identify\n"
        "found = identify(Dummy().state_dict(), side=16)\n"
        "print(found.match.library, found.match.name, tuple(found.module(torch.zeros(1, 1, 16, 16)).shape))\n",
    )
    assert said == "dummy Dummy (1, 2)\n"


METRIC = (
    '    MetricEntry(Metric.DUMMY, "Dummies", "How many there are.", "count", Family.LINKAGE, fewest=(3, 4),'
    ' measured_by="dummy:dummies"),'
)
SCORE = """
from reid_audit.records import Measured, Metric

def dummies(comparison, images, rng):
    return Measured(metric=Metric.DUMMY, value=len(images.made.images), control=0)
"""


def test_a_metric_is_one_file_its_name_and_one_entry_of_the_table(copy: Path) -> None:
    (copy / "score" / "dummy.py").write_text(SCORE)
    register(copy / "records" / "metrics.py", 'CONSENSUS = "consensus"', '    DUMMY = "dummy"')
    register(copy / "records" / "table.py", "_ENTRIES = (", METRIC)
    said = asked(
        copy,
        "from datetime import date\n"
        "from reid_audit.judge import Case, judge\n"
        "from reid_audit.policy import parse_policy\n"
        "from reid_audit.records import METRICS, Measured, Metric\n"
        "from reid_audit.report import words\n"
        "from reid_audit.score.needs import needs\n"
        "from types import SimpleNamespace as Some\n"
        "from reid_audit.audit.allowance import unlimited\n"
        "from reid_audit.audit.evidence import COMPARED, measured_alone\n"
        "from reid_audit.audit.preflight.planned import COMPARED as PLANNED\n"
        "from reid_audit.audit import evidence\n"
        "evidence.ALONE = tuple(test for test in evidence.ALONE if test.metric is Metric.DUMMY)\n"
        "policy = parse_policy({'gates': {'dummy': {'fail': 2, 'clear': 1}}})\n"
        "(found,) = measured_alone(Some(images=[]), Some(made=Some(images=range(5))), 0, unlimited(), {Metric.DUMMY})\n"
        "verdict = judge(Case((found,), 'a' * 64, 'disjoint', True, True, True), policy, today=date(2026, 1, 1))\n"
        "print(*[b.text for b in verdict.breaches], sep='; ')\n"
        "print(words.METRICS[Metric.DUMMY].label, words.METRICS[Metric.DUMMY].page)\n"
        "print(*[(need.members, need.others) for need in needs(policy) if need.metric is Metric.DUMMY])\n"
        "print(Metric.DUMMY in COMPARED, PLANNED['dummy'] == (Metric.DUMMY,))\n",
    )
    assert said.splitlines() == ["dummy 5 breaches 2", "Dummies docs/metrics/dummy.md", "(3, 12)", "True True"]


CONTROL = """    ControlEntry(
        Control.DUMMY, "Dummies", "They stand.", "set them up", metric=Metric.CONSENSUS, limit="dummy_low"
    ),"""


def test_a_control_is_its_name_one_entry_and_its_keys(copy: Path) -> None:
    table = copy / "records" / "controls.py"
    register(table, 'PRIOR_DISJOINT = "prior_disjoint"', '    DUMMY = "dummy"')
    register(table, "_ENTRIES = (", CONTROL)
    register(table, "prior_disjoint: bool = True", "    dummy: bool = True\n    dummy_low: Fraction = 0.5")
    said = asked(
        copy,
        "from datetime import date\n"
        "from reid_audit.judge import Case, judge\n"
        "from reid_audit.policy import parse_policy\n"
        "from reid_audit.records import Control, Measured\n"
        "policy = parse_policy({'controls': {'dummy_low': 0.25}})\n"
        "for value in (0.2, 0.3):\n"
        "    found = Measured(metric='consensus', value=value)\n"
        "    case = Case((found,), 'a' * 64, 'disjoint', True, True, True)\n"
        "    verdict = judge(case, policy, today=date(2026, 1, 1))\n"
        "    row = next(row for row in verdict.controls if row.control is Control.DUMMY)\n"
        "    print(row.status, row.lacking, row.remedy)\n",
    )
    assert said.splitlines() == ["missed True set them up", "met False "]


MITIGATION = """
from dataclasses import replace
from reid_audit.mitigate.interface import Copy, Given, Mitigation

def dummy(found: Copy, given: Given) -> Copy:
    return replace(found, done=(*found.done, "nothing was done"))

MITIGATION = Mitigation(
    idea="Do nothing.", source="nobody", remains=("Everything.",), effect="trims", apply=dummy
)
"""


def test_a_mitigation_is_one_file_and_one_line(copy: Path) -> None:
    (copy / "mitigate" / "dummy.py").write_text(MITIGATION)
    register(copy / "mitigate" / "registry.py", 'Entry("round"', '    Entry("dummy", "dummy"),')
    said = asked(
        copy,
        "from reid_audit.cli import exit_code\n"
        "assert exit_code(['mitigate', '--list']) == 0\n"
        "from click.testing import CliRunner\n"
        "from reid_audit.cli.mitigate import mitigate\n"
        "assert 'dummy' in CliRunner().invoke(mitigate, ['--help']).output\n"
        "from reid_audit.budget import unhurried\n"
        "from reid_audit.mitigate.apply import mitigated\n"
        "from reid_audit.mitigate.interface import Given\n"
        "print(mitigated(None, ['dummy'], Given(None, 0, unhurried()))[1][0].done)\n",
    )
    assert "Do nothing." in said
    assert said.endswith("nothing was done\n")


def test_an_origin_of_checkpoints_is_one_file_and_one_line(copy: Path) -> None:
    (copy / "origins" / "dummy.py").write_text(
        "from reid_audit.origins.interface import Fetched\n"
        "def fetch(uri, folder):\n"
        "    (folder / 'x').write_text(uri)\n"
        "    return Fetched(folder / 'x', uri + '@1')\n"
    )
    register(copy / "origins" / "fetch.py", '"hf":', '    "dummy": "reid_audit.origins.dummy",')
    said = asked(
        copy,
        "from reid_audit.origins import fetched\n"
        "with fetched('dummy://a') as model:\n"
        "    print(model.uri, model.file.read_text())\n"
        "assert not model.file.exists()\n",
    )
    assert said == "dummy://a@1 dummy://a\n"
