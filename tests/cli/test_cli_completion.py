"""Completion as the shells ask for it, in a process of its own, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reid_audit.cli import COMMANDS, exit_code, main
from reid_audit.cli.check import check
from reid_audit.cli.mitigate import mitigate

ENTRY = "import sys; from reid_audit.cli import run; sys.argv = ['reid-audit']; run()"
ROOT = Path(__file__).resolve().parents[2]


def asked(words: str, **more: str) -> list[str]:
    """What the shell offers behind ``words``; the last one is being typed."""
    given = {"_REID_AUDIT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", ENTRY], env={**os.environ, **given, **more}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_commands_options_and_choices_are_completed() -> None:
    assert asked("reid-audit che") == ["plain,check"]
    assert asked("reid-audit check --profi") == ["plain,--profile"]
    assert asked("reid-audit check --profile st") == ["plain,standard"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    script = "\n".join(asked("reid-audit x", _REID_AUDIT_COMPLETE=f"{shell}_source"))
    assert "_REID_AUDIT_COMPLETE" in script


def test_an_unknown_shell_gets_no_verdict() -> None:
    given = {**os.environ, "_REID_AUDIT_COMPLETE": "csh_source"}
    done = subprocess.run([sys.executable, "-c", ENTRY], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 3, "1 is FAIL"
    assert len(done.stderr.splitlines()) == 3
    assert "csh_source" in done.stderr


@pytest.mark.parametrize("instruction", ["bash_source", "fish_complete", "csh_source"])
def test_a_command_never_ends_as_a_completion(instruction: str) -> None:
    given = {**os.environ, "_REID_AUDIT_COMPLETE": instruction, "COMP_WORDS": "reid-audit", "COMP_CWORD": "0"}
    entry = ENTRY.replace("['reid-audit']", "['reid-audit', 'check', 'model.pt']")
    done = subprocess.run([sys.executable, "-c", entry], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 3, "0 is PASS"
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 3)
    assert "unset _REID_AUDIT_COMPLETE" in done.stderr


def test_an_empty_variable_asks_for_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_REID_AUDIT_COMPLETE", "")
    assert exit_code(["mitigate", "--list"]) == 0
    assert "recompute-bn" in capsys.readouterr().out


@pytest.mark.parametrize("variable", ["REID_AUDIT_VERSION", "REID_AUDIT_HELP", "REID_AUDIT_CHECK_HELP"])
def test_no_variable_stands_for_help_or_version(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    assert exit_code(["check", "absent.pt"]) == 3


def test_no_variable_ends_a_command_before_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHECK_DRY_RUN", "CHECK_RESUME", "MITIGATE_LISTING"):
        monkeypatch.setenv(f"REID_AUDIT_{name}", "1")
    with check.make_context("check", ["model.pt"], auto_envvar_prefix="REID_AUDIT_CHECK") as context:
        assert (context.params["dry_run"], context.params["resume"]) == (False, True)
    with mitigate.make_context("mitigate", ["model.pt"], auto_envvar_prefix="REID_AUDIT_MITIGATE") as context:
        assert context.params["listing"] is False


def test_every_variable_of_the_page_is_one_that_is_read() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    own = {word for word in page.replace("`", " ").split() if word.startswith("REID_AUDIT_") and word[11:].isupper()}
    read = {"REID_AUDIT_TRACEBACK", "REID_AUDIT_CHROMIUM"}
    for name in COMMANDS:
        command = main.get_command(main.make_context("reid-audit", [name], resilient_parsing=True), name)
        assert command is not None
        read |= {f"REID_AUDIT_{name}_{option.name}".upper() for option in command.params if option.name}
    assert own - read == set()
    assert {"REID_AUDIT_TRACEBACK", "REID_AUDIT_CHROMIUM", "REID_AUDIT_CHECK_BUDGET"} <= own
