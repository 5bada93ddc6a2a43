"""``mitigate``: names what it can do, refuses in three lines, and ends with the verdict on the copy."""

from __future__ import annotations

from pathlib import Path

import preflight_films as films
import pytest
from declared import NOT_SEARCHED

from reid_audit.checking.options import CheckOptions
from reid_audit.cli import exit_code
from reid_audit.cli.mitigate import SHARED, MitigateOptions, mitigate
from reid_audit.demo.targets import checkpoint_path
from reid_audit.mitigate.registry import MITIGATIONS
from reid_audit.report.mitigation import MitigationDocument

POLICY = """
demographics = "off"
[budget]
steps = 2
particles = [4]
[references]
when = "off"
"""
POLICY += NOT_SEARCHED


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reid-audit.toml").write_text(POLICY)
    return tmp_path


def both_cohorts(folder: Path) -> tuple[str, ...]:
    """Options of twenty training patients and of enough others."""
    members, others = films.side(folder / "t", range(20)), films.side(folder / "h", range(100, 230))
    return ("--reference", str(members), "--holdout", str(others))


def run(*words: str) -> int:
    return exit_code(["mitigate", *words])


def test_the_list_names_every_mitigation_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(MITIGATIONS)
    assert all(line.endswith(".") for line in lines)


def test_the_record_holds_the_options_of_the_command_with_their_defaults() -> None:
    with mitigate.make_context("mitigate", []) as context:
        assert set(context.params) == {"budget", *SHARED} | (
            set(MitigateOptions.model_fields) - set(CheckOptions.model_fields) | {"checkpoint", "out"}
        )
        assert MitigateOptions.model_validate(context.params) == MitigateOptions()
    audited = MitigateOptions(checkpoint="m.pt", seed=3, label="sex", names=("fp16",), public="x").checked()
    assert audited == CheckOptions(checkpoint="m.pt", seed=3, label="sex", out=MitigateOptions().out)


@pytest.mark.parametrize("words", [("model.pt",), ("--apply", "fp16"), ("model.pt", "--apply", "magic")])
def test_what_is_missing_or_unknown_is_a_usage_error(words: tuple[str, ...]) -> None:
    assert run(*words) == 2


def test_a_folder_that_holds_something_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").write_text("kept")
    assert run(str(checkpoint_path("cnn")), "--apply", "fp16", "--out", "out") == 3
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "not audited",
        "closest",
        "help",
    ]
    assert (tmp_path / "out" / "old.txt").read_text() == "kept"


def test_a_mitigation_that_does_not_fit_is_refused_in_three_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = both_cohorts(tmp_path)
    assert run(str(checkpoint_path("vit")), "--apply", "recompute-bn", "--public", "prior", *sides, "--out", "o") == 3
    said = capsys.readouterr().err.splitlines()[-3:]
    assert "nothing to change" in said[0]
    assert said[1].startswith("closest:")
    assert said[2].startswith("help:")
    assert not (tmp_path / "o" / "mitigated.safetensors").exists()


def test_a_mitigation_writes_the_copy_its_page_and_both_reports(tmp_path: Path) -> None:
    target = checkpoint_path("overfit_cnn")
    before = target.read_bytes()
    sides = both_cohorts(tmp_path)
    public = str(films.side(tmp_path / "p", range(300, 340)))
    code = run(str(target), "--apply", "recompute-bn", "--public", public, *sides, "--out", "out", "--quiet")
    assert target.read_bytes() == before
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        *("mitigated.safetensors", "mitigation.html", "mitigation.json", "mitigation.md", "before", "after"),
    }
    found = MitigationDocument.model_validate_json((out / "mitigation.json").read_text())
    assert code == found.exit_code == 4
    assert found.public_films == 40
    assert (out / "before" / "report.html").is_file()
    assert (out / "after" / "restricted" / "result.json").is_file()
