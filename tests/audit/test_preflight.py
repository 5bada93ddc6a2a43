"""A preflight finds every fault at once, names nobody in what may be shown, and says what the audit would cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, cast

import pytest
import timm
import torch
from PIL import Image
from preflight_films import corrupt, film, side
from safetensors.torch import save_file

from reid_audit.arch.target import Target
from reid_audit.artefacts.provenance import Declaration
from reid_audit.audit import AuditRequest
from reid_audit.audit.preflight import Looked, look_ahead, machine
from reid_audit.audit.preflight.films import of_labels, unusable_labels
from reid_audit.audit.preflight.forecast import Load, Speed, cost_of, speed_of, stages
from reid_audit.audit.preflight.look import (
    for_each,
    in_the_way,
    network,
    of_cost,
    of_networks,
    unread_answers,
    without_statistics,
)
from reid_audit.audit.preflight.record import Cost
from reid_audit.cohort import Source
from reid_audit.cohort.survey import CohortSurvey
from reid_audit.demo.targets import SPEC, checkpoint_path
from reid_audit.observer import Event, StageEnded, StageStarted
from reid_audit.prior.gaussian import fit_gaussian
from reid_audit.records import (
    ArchMatch,
    Budget,
    CohortName,
    Metric,
    Outcome,
    Policy,
    PreprocessPolicy,
    References,
    Waiver,
)

SHA = "a" * 64
POLICY = Policy(preprocess=PreprocessPolicy(declared=SPEC))


def look(tmp_path: Path, sides: dict[CohortName, Path], *, label: str | None = None, **asked: object) -> Looked:
    request = AuditRequest.model_validate(
        {"checkpoint": checkpoint_path("cnn"), "policy": POLICY, "policy_sha256": SHA, **asked}
    )
    sources = {role: Source(path, {}, label=None if role == "prior" else label) for role, path in sides.items()}
    return look_ahead(request, sources, checkpoint_sha256=SHA, out=tmp_path, today=date(2026, 1, 1))


def texts(looked: Looked, kind: str) -> str:
    return "\n".join(f.text for f in looked.report.findings if f.kind == kind)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[CohortName, Path]:
    folder = tmp_path_factory.mktemp("good")
    return {
        "reference": side(folder / "t", range(60), label=True),
        "holdout": side(folder / "h", range(100, 210), label=True),
    }


def test_good_films_have_no_faults_and_a_cost(good: dict[CohortName, Path], tmp_path: Path) -> None:
    looked = look(tmp_path, good)
    assert looked.report.faults == ()
    assert looked.named == ()
    assert looked.errors == ()
    assert looked.report.possible == (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
    assert [(s.role, s.films, s.patients) for s in looked.report.cohorts] == [
        ("reference", 60, 60),
        ("holdout", 110, 110),
    ]
    cost = looked.report.cost
    assert cost is not None
    assert (cost.network, cost.side) == ("mobilenetv2_035", 32)
    assert cost.seconds > 0
    assert {"attack", "scoring", "power control"} <= {stage for stage, _ in cost.stages}


def test_all_faults_at_once_and_no_name_in_what_is_shown(tmp_path: Path) -> None:
    """A shared patient, a shared picture, a corrupt film, a bad age, a missing film: one look finds them all."""
    reference = side(
        tmp_path / "t", range(20), rows=("film1.png,P0900,50,F", "gone.png,P0901,50,F", "film0.png,P1,9e9,F")
    )
    holdout = side(tmp_path / "h", range(15, 40), rows=("twin.png,P0777,50,F", "old.png,P0778,ancient,F"))
    Image.fromarray(film(3)).save(holdout / "twin.png")
    Image.fromarray(film(99)).save(holdout / "old.png")
    corrupt(holdout / "film30.png")
    looked = look(tmp_path, {"reference": reference, "holdout": holdout}, policy=POLICY)
    shown = texts(looked, "fault")
    for words in ("images that cannot be read: 1", "ages that cannot be read: 1", "rows whose image does not exist: 1"):
        assert words in shown
    assert "patients in both cohorts: 6 (5 by id, 1 by a picture under two ids)" in shown
    document = looked.report.model_dump_json()
    for secret in ("P0015", "P0777", "P0003", "film30", "ancient", "gone"):
        assert secret not in document
        assert any(secret in cell for row in looked.named for cell in row), secret
    assert json.loads(document)["cost"] is not None


def test_films_of_the_prior_are_looked_at_too(good: dict[CohortName, Path], tmp_path: Path) -> None:
    prior = side(tmp_path / "p", range(50, 80))
    corrupt(prior / "film70.png")
    looked = look(tmp_path, {**good, "prior": prior})
    assert "prior: images that cannot be read: 1" in texts(looked, "fault")
    assert "PASS is out of reach: the prior's films show 10 patients of the training films" in texts(looked, "limit")


def test_one_picture_of_two_people_of_one_cohort_is_a_limit(good: dict[CohortName, Path], tmp_path: Path) -> None:
    reference = side(tmp_path / "t", range(60), rows=("again.png,P0900,50,F",))
    (reference / "again.png").write_bytes((reference / "film7.png").read_bytes())
    assert "a film of another patient of this cohort: 2" in texts(
        look(tmp_path, {**good, "reference": reference}), "limit"
    )


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("x",), "all films have the same training label"),
        (("x", ""), "films without a training label: 4"),
        (tuple("abc"), "3 training labels"),
    ],
)
def test_labels_that_give_no_loss_are_said(labels: tuple[str, ...], words: str, tmp_path: Path) -> None:
    reference = side(tmp_path / "t", range(8))
    rows = [f"film{i}.png,P{i:04d},50,F,{labels[i % len(labels)]}" for i in range(8)]
    (reference / "manifest.csv").write_text("\n".join(("path,patient_id,age,sex,finding", *rows)))
    assert words in texts(look(tmp_path, {"reference": reference}, label="finding"), "note")


def of(*labels: str) -> Mapping[CohortName, CohortSurvey]:
    """A survey of which only the labels are asked."""
    return {"reference": cast(CohortSurvey, SimpleNamespace(labels=tuple((label, 4) for label in labels)))}


FINDINGS = ArchMatch(name="n", library="l", family="f", coverage=1.0, head="sigmoid", classes=3)


@pytest.mark.parametrize(
    ("head", "labels", "why"),
    [
        ("sigmoid", ("Mass", "Effusion|Mass", "Edema, Mass", "No Finding"), ""),
        ("sigmoid", ("a", "b|c", "d|e"), "5 training labels"),
        ("softmax", ("Mass", "Effusion|Mass", "Edema, Mass", "No Finding"), "4 training labels"),
    ],
)
def test_a_label_may_name_several_findings_of_a_network_that_tells_several(
    head: Literal["sigmoid", "softmax"], labels: tuple[str, ...], why: str
) -> None:
    match = FINDINGS.model_copy(update={"head": head})
    assert why in unusable_labels(of(*labels), match)
    notes = list(of_labels(of(*labels), match))
    assert bool(notes) is bool(why)
    assert all(("--head sigmoid" in note.remedy) is (head == "softmax") for note in notes)


@pytest.mark.parametrize(
    ("head", "classes", "labels", "why", "remedy"),
    [
        ("sigmoid", 3, ("+-?\x1fa", "..-\x1fnone"), "", ""),
        ("sigmoid", 2, ("+-?\x1fa", "..-\x1fnone"), "3 columns of findings, the network has 2 outputs", ""),
        ("softmax", 3, ("+-?\x1fa", "..-\x1fnone"), "exclusive", "--head sigmoid"),
        ("softmax", 3, ("+--\x1fa", "-+-\x1fb"), "", ""),
        ("softmax", 2, ("+\x1fa", ".\x1fnone"), "", ""),
        ("regression", 1, ("+-?\x1fa", "..-\x1fnone"), "a number", ""),
        ("sigmoid", 1, ("1", "-1", "", "0"), "without a training label: 4", "'NAME,'"),
        ("sigmoid", 1, ("1", "-1", "", "mild"), "without a training label: 4", "class"),
    ],
)
def test_columns_of_findings_are_counted_and_held_against_the_outputs(
    head: Literal["sigmoid", "softmax", "regression"], classes: int, labels: tuple[str, ...], why: str, remedy: str
) -> None:
    match = FINDINGS.model_copy(update={"head": head, "classes": classes})
    assert why in unusable_labels(of(*labels), match)
    assert bool(unusable_labels(of(*labels), match)) is bool(why)
    notes = list(of_labels(of(*labels), match))
    if "?" in labels[0]:
        assert notes[0].text == (
            "findings in 3 columns of 8 films: 4 present, 8 absent, 8 blank (counted as absent), "
            "4 uncertain (the network's own answer stands)"
        )
    assert remedy in notes[-1].remedy


@pytest.mark.parametrize(
    ("changes", "policy", "labels", "said"),
    [
        ({"head": "regression", "classes": 1}, POLICY, "none", "a number"),
        ({"head": "sigmoid", "classes": 1}, POLICY, "none", "may be a yes/no answer or a number"),
        ({"head": "sigmoid", "classes": 1}, POLICY.model_copy(update={"head": "sigmoid"}), "none", ""),
        ({"head": "sigmoid", "classes": 1}, POLICY.model_copy(update={"head": "regression"}), "none", "a number"),
        ({"head": "sigmoid", "classes": 1}, POLICY, "", ""),
        ({"head": "sigmoid", "classes": 3}, POLICY, "none", ""),
    ],
)
def test_answers_that_need_labels_are_said_before_the_attack(
    changes: dict[str, object], policy: Policy, labels: str, said: str
) -> None:
    found = list(unread_answers(policy, FINDINGS.model_copy(update=changes), labels))
    assert bool(found) is bool(said)
    assert all(said in each.text for each in found)


def test_labels_that_fit_are_not_mentioned(good: dict[CohortName, Path], tmp_path: Path) -> None:
    assert "label" not in texts(look(tmp_path, good, label="finding"), "note")


def test_a_waiver_of_this_file_and_today_counts(tmp_path: Path) -> None:
    few: dict[CohortName, Path] = {
        "reference": side(tmp_path / "t", range(20)),
        "holdout": side(tmp_path / "h", range(100, 210)),
    }

    def limits(expires: date, sha: str) -> str:
        rates = (Metric.MEMBERSHIP_TPR, Metric.LINKAGE_TPR)
        waivers = tuple(
            Waiver(gate=g, checkpoint_sha256=sha, reason="a study of the house", approved_by="DPO", expires=expires)
            for g in rates
        )
        return texts(look(tmp_path, few, waivers=waivers), "limit")

    assert limits(date(2026, 1, 1), SHA) == ""
    assert "PASS is out of reach: 20 training patients" in limits(date(2025, 12, 31), SHA)
    assert "PASS is out of reach: 20 training patients" in limits(date(2026, 1, 1), "b" * 64)


def test_a_network_that_is_not_known_is_one_fault_among_others(tmp_path: Path) -> None:
    save_file({"strange.weight": torch.zeros(3, 3)}, tmp_path / "strange.safetensors")
    looked = look(tmp_path, {"reference": tmp_path / "nowhere"}, checkpoint=tmp_path / "strange.safetensors")
    assert {fault.topic for fault in looked.report.faults} == {"films", "network"}
    assert len(looked.errors) == 1
    assert looked.report.cost is None


def test_every_stage_of_the_preflight_is_said(good: dict[CohortName, Path], tmp_path: Path) -> None:
    said: list[Event] = []

    class Listener:
        def notice(self, event: Event) -> None:
            said.append(event)

    request = AuditRequest(checkpoint=checkpoint_path("cnn"), policy=POLICY, policy_sha256=SHA)
    look_ahead(
        request, {"reference": Source(good["reference"], {})}, checkpoint_sha256=SHA, out=tmp_path,
        today=date(2026, 1, 1), observer=Listener(),
    )  # fmt: skip
    begun = [event.stage for event in said if isinstance(event, StageStarted)]
    assert sorted(begun) == sorted(event.stage for event in said if isinstance(event, StageEnded))
    assert begun == ["preflight: training films", "decoding training films", "preflight: network"]


class Ticking:
    """One second passes at every look."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def small(module: torch.nn.Module, side: int = 16) -> Target:
    match = ArchMatch(name="n", library="l", family="f", coverage=1.0, classes=2, channels=1, side=side)
    return Target(module=module.eval(), match=match)


CONVOLUTION = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten())


def test_speed_is_timed_and_activations_counted() -> None:
    found = speed_of(small(CONVOLUTION), 16, torch.device("cpu"), Ticking())
    assert (found.forward, found.gradient) == (0.25, 0.25)
    assert found.activations == (2 * 4 * 14 * 14 + 4 * 14 * 14) * 4


def test_time_grows_with_what_there_is_to_do() -> None:
    target, speed = small(CONVOLUTION), Speed(forward=0.01, gradient=0.03, activations=100, cubic=1e-9)

    def seconds(policy: Policy, load: Load) -> dict[str, float]:
        return dict(stages(target, speed, policy, load))

    load = Load(films=100, patients=100, per_film=0.1)
    usual = seconds(Policy(budget=Budget(steps=100, particles=(8, 8))), load)
    assert usual["attack"] == pytest.approx(100 * 16 * 0.03)
    assert usual["reading films"] == pytest.approx(10.0)
    assert seconds(Policy(budget=Budget(steps=200, particles=(8, 8))), load)["attack"] == 2 * usual["attack"]
    assert "power control" not in seconds(POLICY, Load(films=100, patients=0))
    off, on = (seconds(Policy(references=References(when=when)), load) for when in ("off", "required"))
    assert on["power control"] > 2 * off["power control"]  # canaries are learned until they are known
    layer = torch.nn.BatchNorm2d(4)
    layer.register_buffer("running_mean", torch.full((4,), 0.5))  # statistics of films that it has seen
    target = small(torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), layer, torch.nn.Flatten()))
    off, on = (seconds(Policy(references=References(when=when)), load) for when in ("off", "required"))
    assert on["power control"] == off["power control"]


def test_a_network_of_another_input_has_no_forecast(tmp_path: Path) -> None:
    assert cost_of(small(torch.nn.Linear(7, 2)), POLICY, Load(0, 0), tmp_path) is None


def test_too_little_disk_is_a_fault_and_too_little_memory_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = cost_of(small(CONVOLUTION), POLICY, Load(0, 0), tmp_path / "not" / "yet", Ticking())
    assert cost is not None
    assert cost.disk_free is not None
    assert [f.topic for f in of_cost(cost, 1.0)] == ["time"]
    full = cost.model_copy(update={"disk_free": 10, "memory_free": 10})
    assert [(f.kind, f.topic) for f in of_cost(full, 1.0)] == [
        ("fault", "disk"),
        ("limit", "memory"),
        ("note", "time"),
    ]
    unknown = cost.model_copy(update={"disk_free": None, "memory_free": None})
    assert [f.topic for f in of_cost(unknown, 1.0)] == ["time"]


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    alone = machine.free_memory(torch.device("cpu"))
    for name, text in (
        ("memory.max", "1000"),
        ("memory.current", "900"),
        ("memory.stat", "anon 1\ninactive_file 50\n"),
    ):
        (tmp_path / name).write_text(text)
    assert machine.free_memory(torch.device("cpu")) == 150
    (tmp_path / "memory.max").write_text("max\n")
    assert (machine.free_memory(torch.device("cpu")) is None) == (alone is None)


def test_a_prior_file_is_opened_and_asked_whose_films_it_knows(good: dict[CohortName, Path], tmp_path: Path) -> None:
    images = torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    made = fit_gaussian(images, Declaration("p", ("p",)), torch.Generator(), patients=40)
    made.save(tmp_path / "prior.safetensors")
    silent = look(tmp_path, good, prior=tmp_path / "prior.safetensors")
    assert silent.report.faults == ()
    assert "PASS is out of reach: the prior does not say" in texts(silent, "limit")
    assert Outcome.PASS not in silent.report.possible
    (tmp_path / "prior.safetensors").write_bytes(b"no prior")
    broken = look(tmp_path, good, prior=tmp_path / "prior.safetensors")
    assert [fault.topic for fault in broken.report.faults] == ["prior"]


def test_a_network_without_statistics_needs_its_training_labels(good: dict[CohortName, Path], tmp_path: Path) -> None:
    looked = look(tmp_path, good, checkpoint=checkpoint_path("vit"))
    assert "PASS depends on luck: " in texts(looked, "limit")
    assert "stores no statistics" in texts(looked, "limit")
    assert look(tmp_path, good, checkpoint=checkpoint_path("vit"), base=Path("base.pt")).report.faults == ()


def test_membership_with_references_stands_in_where_the_labels_are_known() -> None:
    bare = small(CONVOLUTION).match.model_copy(update={"data_statistics": 0})
    silent = Policy(references=References(when="off"))
    assert list(without_statistics(POLICY, bare, "")) == []
    (why,) = without_statistics(POLICY, bare, "no training labels were given")
    assert "--label (no training labels were given)" in why.remedy
    (why,) = without_statistics(silent, bare, "")
    assert "--label" not in why.remedy
    assert list(without_statistics(silent, bare, "", based=True)) == []


def test_a_doubt_about_the_network_withholds_the_pass() -> None:
    match = small(CONVOLUTION).match.model_copy(update={"doubts": ("two layers were left out",), "data_statistics": 8})
    (why,) = in_the_way(POLICY.controls, {}, True, match)
    assert "two layers were left out" in why.text
    assert not why.by_luck


def test_several_networks_cost_as_much_as_all_and_an_unknown_one_is_in_the_way(tmp_path: Path) -> None:
    known = timm.create_model("test_resnet", num_classes=2).state_dict()
    unknown = {f"x.{i}.weight": torch.rand(4, 4, 3, 3) for i in range(3)}
    torch.save({"fold_0": known, "fold_1": {k: v + 1 for k, v in known.items()}, "odd": unknown}, tmp_path / "f.pt")
    target, networks, errors = network(AuditRequest(checkpoint=tmp_path / "f.pt", policy_sha256=SHA))
    assert target is not None
    assert errors == ()
    assert [found.name for found in networks] == ["fold_0", "fold_1", "odd"]
    (why,) = of_networks(networks)
    assert "at odd" in why.text
    once = Cost(
        network="n", side=8, side_by="policy", stages=(("reading films", 2.0), ("attack", 3.0)), memory_bytes=1,
        memory_free=None, disk_bytes=1, disk_free=None,
    )  # fmt: skip
    both = for_each(once, 2)
    assert both is not None
    assert both.seconds == 8.0
    assert for_each(once, 1) is once
    assert for_each(None, 2) is None
