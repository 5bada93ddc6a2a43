"""reid-audit.toml: the template means the defaults, unknown keys name the nearest, the digest is canonical."""

from __future__ import annotations

import hashlib
import tomllib
from datetime import date
from pathlib import Path

import pytest

from reid_audit.errors import PolicyError
from reid_audit.policy import load_policy, load_waivers, parse_policy, policy_sha256, policy_template, searched
from reid_audit.records import CONTROLS, METRICS, Control, Controls, Metric, Policy, default_gates, unevaluable


def _policy(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "reid-audit.toml"
    path.write_text(text)
    return load_policy(path, tmp_path)[0]


def test_the_template_means_exactly_the_defaults() -> None:
    assert parse_policy(tomllib.loads(policy_template())) == Policy()


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    policy, source, digest = load_policy(None, tmp_path)
    assert policy == Policy()
    assert source is None
    assert digest == hashlib.sha256(policy_template().encode()).hexdigest()


def test_the_working_directory_is_searched_and_the_own_file_wins(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text("[project]\nname = 'x'\n")
    assert load_policy(None, tmp_path)[1] is None
    project.write_text("[tool.reid-audit]\nlevel = 0.2\n")
    policy, source, _ = load_policy(None, tmp_path)
    assert (policy.level, source) == (0.2, project)
    assert load_policy(project, Path("/"))[0].level == 0.2
    own = tmp_path / "reid-audit.toml"
    own.write_text("level = 0.05\n")
    policy, source, _ = load_policy(None, tmp_path)
    assert (policy.level, source) == (0.05, own)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository below a folder with a policy of its own, which is none of its business."""
    (tmp_path / "reid-audit.toml").write_text("level = 0.3\n")
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    (tmp_path / "repository" / "models" / "chest").mkdir(parents=True)
    return tmp_path / "repository"


def test_the_nearest_policy_upwards_is_used_and_the_repository_is_not_left(repository: Path) -> None:
    deep = repository / "models" / "chest"
    assert load_policy(None, deep)[1] is None
    (repository / "reid-audit.toml").write_text("level = 0.2\n")
    assert load_policy(None, deep)[:2] == (Policy(level=0.2), repository / "reid-audit.toml")
    (repository / "models" / "pyproject.toml").write_text("[tool.ruff]\n")
    assert load_policy(None, deep)[1] == repository / "reid-audit.toml"
    (repository / "models" / "pyproject.toml").write_text("[tool.reid-audit]\nlevel = 0.05\n")
    assert load_policy(None, deep)[0].level == 0.05
    (deep / "reid-audit.toml").write_text("level = 0.01\n")
    assert load_policy(None, deep)[0].level == 0.01


def test_waivers_are_looked_for_in_the_same_folders(repository: Path) -> None:
    deep = repository / "models" / "chest"
    (repository.parent / "reid-audit-waivers.toml").write_text(WAIVER.format(digest="b" * 64))
    assert load_waivers(None, deep) == ()
    (repository / "reid-audit-waivers.toml").write_text(WAIVER.format(digest="a" * 64))
    assert load_waivers(None, deep)[0].checkpoint_sha256 == "a" * 64


def test_a_worktree_is_a_repository_too(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: elsewhere\n")
    assert searched(tmp_path / "deep" / "er")[-1] == tmp_path.resolve()


def test_without_a_repository_the_search_ends_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    project, deep = tmp_path / "project", tmp_path / "project" / "deep"
    assert searched(deep) == (deep, project)
    assert searched(tmp_path) == (tmp_path,)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "elsewhere")
    assert searched(deep) == (deep,)
    monkeypatch.setattr(Path, "home", homeless)
    assert searched(deep) == (deep,)


def homeless() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_the_digest_is_that_of_the_files_bytes(tmp_path: Path) -> None:
    path = tmp_path / "reid-audit.toml"
    path.write_bytes(b"# a comment\r\nlevel = 0.2\r\n")
    assert (
        load_policy(None, tmp_path)[2]
        == load_policy(path, Path("/"))[2]
        == hashlib.sha256(path.read_bytes()).hexdigest()
    )


def test_a_named_gate_overrides_only_what_it_says(tmp_path: Path) -> None:
    policy = _policy(tmp_path, "[gates.linkage_p]\nfail = 0.001\n[gates.linkage_auc]\nfail = 0.8\n")
    gate, default = policy.gate(Metric.LINKAGE_P), Policy().gate(Metric.LINKAGE_P)
    assert gate is not None
    assert default is not None
    assert (gate.fail, gate.clear, gate.corroborated_by) == (0.001, default.clear, default.corroborated_by)
    assert policy.gate(Metric.LINKAGE_AUC) is not None
    assert len(policy.gates) == len(Policy().gates) + 1


def test_a_threshold_can_be_removed(tmp_path: Path) -> None:
    gate = _policy(tmp_path, "[gates.nearest_nn]\nfail = false\n").gate(Metric.NEAREST_NN)
    assert gate is not None
    assert gate.fail is None


def test_corroboration_is_a_flat_table(tmp_path: Path) -> None:
    gate = _policy(tmp_path, "[gates.linkage_p]\ncorroborated_by = { reidentified_patients = 3 }\n").gate(
        Metric.LINKAGE_P
    )
    assert gate is not None
    assert [(c.metric, c.above) for c in gate.corroborated_by] == [(Metric.REIDENTIFIED_PATIENTS, 3)]
    alone = _policy(tmp_path, "[gates.linkage_p]\ncorroborated_by = {}\n").gate(Metric.LINKAGE_P)
    assert alone is not None
    assert alone.corroborated_by == ()


def test_preprocessing_and_budget_are_read(tmp_path: Path) -> None:
    policy = _policy(tmp_path, "[preprocess]\nside = 64\nmean = [0.5]\n[budget]\nseconds = 60\nparticles = [4]\n")
    assert policy.preprocess.declared is not None
    assert policy.preprocess.declared.side == 64
    assert (policy.budget.seconds, policy.budget.particles) == (60, (4,))
    assert _policy(tmp_path, "[budget]\nseconds = false\n").budget.seconds is None


def test_every_key_of_the_policy_can_be_written(tmp_path: Path) -> None:
    policy = _policy(tmp_path, 'evidence = "checkpoint"\nlevel = 0.2\nrepeats = 3\nagreement = 2\n')
    assert (policy.evidence, policy.level, policy.repeats, policy.agreement) == ("checkpoint", 0.2, 3, 2)
    with pytest.raises(PolicyError, match="more than half"):
        _policy(tmp_path, "repeats = 4\nagreement = 2\n")


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("levle = 0.1", "levle", "level"),
        ("[gates.linkage]\nfail = 1", "linkage", "linkage_p"),
        ("[gates.linkage_p]\nfial = 0.1", "fial", "fail"),
        ("[controls]\nattack_powr = true", "attack_powr", "attack_power"),
        ("[preprocess]\nsides = 64", "sides", "side"),
        ("[budget]\nsecond = 1", "second", "seconds"),
        ("[gates.linkage_p]\ncorroborated_by = { membership_acu = 0 }", "membership_acu", "membership_auc"),
        ("[gates.exposure_auc]\nfail = 0.8", "exposure_auc", "membership_auc"),
        ("[gates.linkage_p]\ncorroborated_by = { exposure_auc = 0 }", "exposure_auc", "membership_auc"),
        ("[controls]\nexposure_control = false", "exposure_control", "membership_control"),
        ("[controls]\nexposure_control_tpr = 0.4", "exposure_control_tpr", "membership_control_tpr"),
    ],
)
def test_unknown_keys_name_the_nearest_known_key(tmp_path: Path, text: str, key: str, nearest: str) -> None:
    with pytest.raises(PolicyError) as caught:
        _policy(tmp_path, text)
    assert key in caught.value.what
    assert caught.value.closest == nearest
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "level = 2",
        "version = 2",
        "evidence = 'none'",
        "gates = 3",
        "[gates]\nlinkage_p = 1",
        "[gates.linkage_p]\nfail = true",
        "[gates.linkage_p]\nfail = nan",
        "[gates.linkage_p]\ncorroborated_by = 1",
        "[controls]\ncanaries = 0",
        "[controls]\npreprocess_fit_excess = inf",
        "[preprocess]\nmean = [nan]",
        "[references]\nrate = inf",
        "[budget]\nparticles = []",
        "not toml",
    ],
)
def test_bad_values_are_usage_errors_in_three_lines(tmp_path: Path, text: str) -> None:
    with pytest.raises(PolicyError) as caught:
        _policy(tmp_path, text)
    assert all(line and "\n" not in line for line in caught.value.lines())


def test_a_policy_that_can_never_fail_is_refused(tmp_path: Path) -> None:
    text = "".join(f"[gates.{gate.metric.value}]\nfail = false\n" for gate in Policy().gates)
    with pytest.raises(PolicyError, match="can fail"):
        _policy(tmp_path, text)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot read"):
        load_policy(tmp_path / "absent.toml", tmp_path)


def test_the_digest_of_a_policy_without_a_file_ignores_layout_and_sees_values(tmp_path: Path) -> None:
    first = _policy(tmp_path, "[gates.linkage_p]\nfail = 0.02\n[gates.nearest_nn]\nfail = 0.1\n")
    second = _policy(tmp_path, "# c\n[gates.nearest_nn]\nfail = 0.10\n\n[gates.linkage_p]\nfail = 0.020\n")
    assert policy_sha256(first) == policy_sha256(second) != policy_sha256(Policy())
    shuffled = Policy(gates=tuple(reversed(Policy().gates)))
    assert policy_sha256(shuffled) == policy_sha256(Policy())


WAIVER = """
[[waivers]]
gate = "membership_tpr_at_1pct_fpr"
checkpoint_sha256 = "{digest}"
reason = "research use inside the hospital"
approved_by = "DPO"
expires = 2026-04-01
"""


def test_waivers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "reid-audit-waivers.toml"
    assert load_waivers(None, tmp_path) == ()
    path.write_text(WAIVER.format(digest="a" * 64))
    for waivers in (load_waivers(path), load_waivers(None, tmp_path)):
        assert (waivers[0].gate, waivers[0].expires) == (Metric.MEMBERSHIP_TPR, date(2026, 4, 1))


def test_a_waiver_of_a_gates_earlier_name_is_refused_with_the_present_one(tmp_path: Path) -> None:
    path = tmp_path / "reid-audit-waivers.toml"
    path.write_text(WAIVER.format(digest="a" * 64).replace("membership_tpr", "exposure_tpr"))
    with pytest.raises(PolicyError, match="is now called 'membership_tpr_at_1pct_fpr'"):
        load_waivers(path)


@pytest.mark.parametrize(
    "text",
    [
        WAIVER.format(digest="short"),
        WAIVER.format(digest="a" * 64).replace("expires = 2026-04-01", ""),
        WAIVER.format(digest="a" * 64) + "extra = 1\n",
        "[[waiver]]\n",
        "waivers = 1\n",
        "waivers = [3]\n",
        "[[waivers]]\ngate = ['linkage_p']\n",
        "[[waivers\n",
    ],
)
def test_incomplete_waivers_are_refused_with_the_keys_of_a_waiver(tmp_path: Path, text: str) -> None:
    path = tmp_path / "w.toml"
    path.write_text(text)
    with pytest.raises(PolicyError) as refusal:
        load_waivers(path)
    assert "gate, checkpoint_sha256, reason, approved_by, expires" in refusal.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        '[gates.membership_max_p]\nfail = 0.01\nbasis = "excess"',
        '[gates.pixel_entropy_tuned]\nfail = 1.0\nbasis = "excess"',
        "[gates.membership_tpr_at_1pct_fpr]\nfail = 5",
        "[gates.linkage_p]\nclear = -0.1",
        "[gates.reidentified_patients]\nfail = -1",
    ],
)
def test_a_gate_that_can_never_be_evaluated_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="can never be evaluated") as caught:
        _policy(tmp_path, text)
    assert "docs/metrics/" in caught.value.closest


def test_every_default_gate_can_be_evaluated() -> None:
    assert [unevaluable(gate) for gate in default_gates()] == [""] * len(default_gates())


def test_every_control_has_its_keys_in_the_policy() -> None:
    keys = {"canaries"} | {c.value for c in Control} | {entry.limit for entry in CONTROLS.values() if entry.limit}
    assert set(Controls.model_fields) == keys
    assert list(CONTROLS) == list(Control)
    assert set(METRICS) == set(Metric)
