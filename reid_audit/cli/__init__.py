"""The command line: parse, call, exit. Everything that needs torch is imported inside the commands."""

from __future__ import annotations

import os
import sys
import time
import traceback
import warnings
from importlib import import_module

import click

from reid_audit import __version__
from reid_audit.cli.computing import NOT_AUDITED, outlive_exits
from reid_audit.cli.machine import ended_by_sigterm, shortage
from reid_audit.cli.pipes import leave, outlive_readers
from reid_audit.cli.processors import wait_asleep
from reid_audit.errors import AuditError

COMMANDS: dict[str, tuple[str, str]] = {
    "check": ("reid_audit.cli.check", "Audit a checkpoint: attack, score, judge, report, exit."),
    "sweep": ("reid_audit.cli.sweep", "Audit many checkpoints, here or on a Ray cluster: one summary, one exit code."),
    "plan": ("reid_audit.cli.plan", "What a check would cost and give: seconds, memory and evidence, stage by stage."),
    "inspect": ("reid_audit.cli.inspect", "What a file is and what its weights could give away; seconds, no attack."),
    "demo": ("reid_audit.cli.demo", "Audit the embedded examples end to end, no download."),
    "gate": ("reid_audit.cli.results", "Judge a finished run again, under another policy."),
    "render": ("reid_audit.cli.results", "Write any report format from a finished run."),
    "compare": ("reid_audit.cli.compare", "What changed between two finished runs, and what of it is beyond chance."),
    "mitigate": (
        "reid_audit.cli.mitigate",
        "Write a copy that gives away less, and audit it beside the original.",
    ),
    "verify": ("reid_audit.cli.results", "Does this report belong to these weights?"),
    "card": ("reid_audit.cli.card", "Put the verdict into a Hugging Face model card."),
    "log": ("reid_audit.cli.log", "Put a finished run into an MLflow run: reports, figures, tags."),
    "policy": ("reid_audit.cli.policy", "Write or check a reid-audit.toml."),
    "prior": ("reid_audit.cli.prior", "Fit, train, describe and sample priors."),
}


COMPLETION = "_REID_AUDIT_COMPLETE"
"""Set by a shell that asks what could be typed next."""


class LazyGroup(click.Group):
    """Imports a command's module when it is called, so that --help is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None where nothing is called so."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of the help, from the registry: no command is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"auto_envvar_prefix": "REID_AUDIT", "help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 pass, 1 fail, 2 usage, 3 not audited, 4 inconclusive, 5 refused as unsafe.",
)
@click.version_option(__version__, prog_name="reid-audit", allow_from_autoenv=False)  # else a pinned version exits 0
def main() -> None:
    """Decide whether a medical-imaging model may be released: reconstruct training data, score re-identification."""


def run() -> None:
    """Entry point. Nothing but a verdict exits 0, 1 or 4; whatever was not foreseen exits 3."""
    began = time.monotonic() - time.process_time()  # nothing but this process had begun: all it did so far was to start
    outlive_readers()
    outlive_exits()
    wait_asleep()
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", category=FutureWarning)  # what libraries tell each other
    with ended_by_sigterm():
        code = exit_code(began=began)
    leave(code)


def exit_code(args: list[str] | None = None, *, began: float | None = None) -> int:
    """Run the command line and return the process exit code. began: from when on a budget counts; now, without."""
    if os.environ.get(COMPLETION) and (sys.argv[1:] if args is None else args):
        return _not_asked_by_a_shell()
    try:
        result = main.main(args=args, prog_name="reid-audit", standalone_mode=False, obj=began)
    except AuditError as error:
        for line in error.lines():
            click.echo(line, err=True)
        return error.exit_code
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except SystemExit as leaving:
        if COMPLETION in os.environ:
            return _completed(leaving.code)
        return _refuse("a library ended the process", f"code {leaving.code}", "report it; this is not a verdict")
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return _refuse("interrupted", "no verdict was reached", "run again; --resume goes on from what was finished")
    except Exception as error:
        return _crash(error)
    return result if isinstance(result, int) else 0


def _not_asked_by_a_shell() -> int:
    """A shell gives no arguments when it asks. Answered here, a command would end with 0 and not have run."""
    asked = f"{COMPLETION}={os.environ[COMPLETION]}"
    return _refuse("a command was given while a shell seems to ask for completions", asked, f"unset {COMPLETION}")


def _completed(code: object) -> int:
    """A shell asked what could be typed next: it got its answer, or is one that nobody knows."""
    if not code:
        return 0
    asked = f"{COMPLETION}={os.environ[COMPLETION]}"
    return _refuse("no shell that is known asks for completions", asked, "unset it, or see docs/command-line.md")


def _crash(error: Exception) -> int:
    short = shortage(error)
    if short is not None:
        return _refuse(short.what, _first_line(error), short.remedy)
    if os.environ.get("REID_AUDIT_TRACEBACK"):
        click.echo("".join(traceback.format_exception(error)), err=True)
        return NOT_AUDITED
    return _refuse(
        f"internal error, {type(error).__name__}",
        _first_line(error),
        "set REID_AUDIT_TRACEBACK=1 for the traceback and report it; this is not a verdict",
    )


def _refuse(what: str, closest: str, remedy: str) -> int:
    for line in AuditError(what, closest=closest, remedy=remedy).lines():
        click.echo(line, err=True)
    return NOT_AUDITED


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
