"""Runs the shell steps of action.yml as GitHub would: expressions, ``if``, outputs, failure. No ``uses`` step."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Job:
    """What a finished run left behind."""

    code: int = 0
    """Of the last step that failed, else 0."""
    log: str = ""
    summary: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)


def run_action(
    workspace: Path,
    temp: Path,
    inputs: dict[str, str],
    event: str,
    payload: dict[str, Any],
    github: dict[str, str] | None = None,
) -> Job:
    """``workspace`` is the checked-out repository, ``temp`` a folder with the command in ``bin/``, ``github`` more
    variables of the runner."""
    action = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
    given = {name: inputs.get(name, spec.get("default", "")) for name, spec in action["inputs"].items()}
    (temp / "event.json").write_text(json.dumps(payload), encoding="utf-8")
    summary = temp / "summary.md"
    summary.touch()
    job, outputs = Job(), dict[str, dict[str, str]]()
    for number, step in enumerate(action["runs"]["steps"]):
        if "run" not in step or not holds(step.get("if", ""), job.code, given, outputs):
            continue
        written = temp / f"output-{number}"
        written.touch()
        environment = {
            "PATH": f"{temp / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(temp),
            "GITHUB_ACTION_PATH": str(REPOSITORY),
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(temp / "event.json"),
            "GITHUB_OUTPUT": str(written),
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_WORKSPACE": str(workspace),
            "RUNNER_TEMP": str(temp),
            **(github or {}),
            **{name: expand(value, given, outputs) for name, value in step.get("env", {}).items()},
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=workspace,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        job.ran.append(step["name"])
        job.log += done.stdout
        job.code = done.returncode or job.code
        outputs[step.get("id", f"step-{number}")] = parse_outputs(written.read_text(encoding="utf-8"))
    job.summary = summary.read_text(encoding="utf-8")
    job.outputs = {name: expand(spec["value"], given, outputs) for name, spec in action["outputs"].items()}
    return job


def holds(condition: str, code: int, inputs: dict[str, str], outputs: dict[str, dict[str, str]]) -> bool:
    """Whether a step runs: comparisons of inputs and outputs, ``always()``, and, or. Anything else is an error."""
    if code and "always()" not in condition:
        return False
    named = re.sub(r"(?:inputs|steps)\.[\w.-]+", r"${{ \g<0> }}", condition)
    valued = re.sub(r"\$\{\{ .*? \}\}", lambda found: repr(expand(found[0], inputs, outputs)), named)
    python = valued.replace("always()", "True").replace("&&", "and").replace("||", "or")
    return bool(eval(python or "True", {"__builtins__": {}}))  # noqa: S307


def expand(text: str, inputs: dict[str, str], outputs: dict[str, dict[str, str]]) -> str:
    """``text`` with ``inputs.x`` and ``steps.x.outputs.y`` replaced; anything else is an error of the test."""

    def value(found: re.Match[str]) -> str:
        parts = found[1].split(".")
        if parts[0] == "inputs":
            return inputs[parts[1]]
        if parts[0] == "steps" and parts[2] == "outputs":
            return outputs.get(parts[1], {}).get(parts[3], "")
        raise ValueError(found[0])

    return re.sub(r"\$\{\{ *([\w.-]+) *\}\}", value, text)


def parse_outputs(text: str) -> dict[str, str]:
    """The two forms of GITHUB_OUTPUT."""
    values, lines = {}, iter(text.splitlines())
    for line in lines:
        name, heredoc, end = line.partition("<<")
        if heredoc:
            body = []
            while (inner := next(lines)) != end:
                body.append(inner)
            values[name] = "\n".join(body)
        else:
            name, _, values[name.partition("=")[0]] = line.partition("=")
    return values


def fake_command(folder: Path, prepared: Path, code: int, *, links: bool = True) -> None:
    """A ``reid-audit`` in ``folder``/bin: records its arguments, makes ``prepared`` the latest run below --out where it
    holds something, ends with ``code``."""
    script = folder / "bin" / "reid-audit"
    script.parent.mkdir(exist_ok=True)
    script.write_text(
        f"""#!{sys.executable}
import json, pathlib, shutil, sys
if sys.argv[1:] == ["--version"]:
    sys.exit(print("reid-audit, version 0"))
if sys.argv[1] == "compare":
    sys.path.insert(0, {str(REPOSITORY)!r})
    from reid_audit.cli import exit_code
    sys.exit(exit_code(sys.argv[1:]))
words = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:] if "=" in word)
words["read"] = {{k: pathlib.Path(words[k]).read_text() for k in ("policy", "waivers") if k in words}}
pathlib.Path({str(folder / "arguments.json")!r}).write_text(json.dumps([sys.argv[1:], words["read"]]))
print("::error::a line the tool printed")
prepared, out = pathlib.Path({str(prepared)!r}), pathlib.Path(words["out"])
if any(prepared.iterdir()):
    shutil.copytree(prepared, out / "this-run")
    (out / "latest").symlink_to("this-run") if {links} else (out / "latest").write_text("this-run\\n")
sys.exit({code})
""",
        encoding="utf-8",
    )
    script.chmod(0o755)
