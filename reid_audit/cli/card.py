"""``reid-audit card``."""

from __future__ import annotations

import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reid_audit.checkpoint.folder import PUBLISHED
from reid_audit.cli.computing import Computing
from reid_audit.cli.results import load_report, sha256_of
from reid_audit.errors import PolicyError, RunStateError

if TYPE_CHECKING:
    from reid_audit.report import PublicReport

HTML = "reid-audit-report.html"


def address(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """A link that Markdown and YAML take as one word."""
    if value is not None and not re.fullmatch(r"[\w./:?&=%#+@~-]+", value):
        raise click.BadParameter(f"{value!r} is no plain address")
    return value


@click.command(cls=Computing)
@click.argument("result", type=click.Path(path_type=Path))
@click.argument("readme", type=click.Path(path_type=Path))
@click.option("--weights", type=click.Path(path_type=Path), help="The published file; default: one beside README.")
@click.option("--link", callback=address, help=f"Address of the HTML report; default: {HTML}, written beside README.")
@click.option("--allow-not-passed", is_flag=True, help="Write a verdict other than PASS.")
def card(result: Path, readme: Path, weights: Path | None, link: str | None, allow_not_passed: bool) -> int:
    """Put the verdict of RESULT into the model card README: one marked section, its metadata, and its figures as
    evaluation results."""
    from reid_audit.records import Outcome
    from reid_audit.report import render
    from reid_audit.report.modelcard import insert

    report = load_report(result)
    old, mark = read_card(readme)
    before = metadata_of(old, readme)
    belongs(report, readme, weights)
    if report.verdict.outcome is not Outcome.PASS and not allow_not_passed:
        raise PolicyError(
            f"the verdict is {report.verdict.outcome.value.replace('_', ' ')}, and a card is for models that passed",
            closest=report.verdict.reason,
            remedy="do not release these weights; --allow-not-passed writes the verdict as it is",
        )
    try:
        new = insert(old, report, link or HTML)
    except ValueError as error:
        raise PolicyError(
            f"{readme} cannot be extended", closest=str(error), remedy="put that in order by hand"
        ) from error
    keeps_the_rest(before, metadata_of(new, readme), readme)
    if link is None:
        replace(readme.with_name(HTML), render(report, "html").encode())
    replace(readme, (mark + new).encode())
    click.echo(f"wrote {readme}" + (f" and {readme.with_name(HTML)}: publish both" if link is None else ""))
    return 0


def read_card(path: Path) -> tuple[str, str]:
    """(text, byte order mark or nothing) of a card; line ends as they are. Raises PolicyError."""
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        closest = (error.strerror or "unreadable") if isinstance(error, OSError) else "it is not UTF-8 text"
        raise PolicyError(
            f"cannot read the card {path}", closest=closest, remedy="create the model card first, as README.md"
        ) from error
    return (text[1:], "\ufeff") if text.startswith("\ufeff") else (text, "")


def belongs(report: PublicReport, readme: Path, given: Path | None) -> None:
    """Raises RunStateError unless the weights, named or beside the card, are those of the report."""
    beside = sorted(p for p in readme.parent.iterdir() if p.suffix in PUBLISHED and p.is_file())
    files = beside if given is None else [given]
    digests = [sha256_of(file) for file in files]
    if report.checkpoint.sha256 in digests:
        return
    seen = ", ".join(f"{file.name} {digest[:16]}" for file, digest in zip(files, digests, strict=True))
    raise RunStateError(
        "the report belongs to other weights" if seen else "there are no weights beside the card",
        closest=f"audited {report.checkpoint.sha256[:16]}" + (f", here {seen}" if seen else ""),
        remedy="name the published file with --weights, or audit it: reid-audit check",
    )


def keeps_the_rest(before: dict[str, Any], after: dict[str, Any], readme: Path) -> None:
    """Raises PolicyError unless the Hub's own reader finds the old metadata unchanged beside ours."""
    from reid_audit.report.modelcard import KEY

    if KEY not in after or of_others(before) != of_others(after):
        raise PolicyError(
            f"the metadata of {readme} cannot be extended",
            closest="its block at the top is not a plain list of 'key: value' lines",
            remedy=f"write the block as 'key: value' lines, one key a line, without '{KEY}'",
        )


def of_others(metadata: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """What is not ours: every other key, and every other result of the model index."""
    from reid_audit.report import model_index
    from reid_audit.report.modelcard import KEY

    rest = {key: value for key, value in metadata.items() if key not in (KEY, model_index.KEY)}
    results = [found for model in metadata.get(model_index.KEY) or () for found in model["results"]]
    return rest, [found for found in results if not model_index.is_ours(found)]


def metadata_of(text: str, readme: Path) -> dict[str, Any]:
    """Metadata as ``huggingface_hub.ModelCard`` reads it. Raises PolicyError."""
    try:
        hub: Any = import_module("huggingface_hub")
    except ImportError as error:
        raise PolicyError(
            "the command card needs huggingface_hub",
            closest=str(error),
            remedy="pip install 'reid-audit[hub]'",
        ) from error
    talk: Any = import_module("huggingface_hub.utils.logging")
    talk.set_verbosity_error()  # a card without metadata is ours to fill, not to warn about
    try:
        return dict(hub.ModelCard(text).data.to_dict())
    except Exception as error:  # yaml's and the Hub's own, which share no base
        raise PolicyError(
            f"the metadata of {readme} cannot be read",
            closest=str(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy="correct the block between the two --- lines at the top",
        ) from error


def replace(path: Path, content: bytes) -> None:
    """Write ``path`` whole or not at all; links are followed and the mode is kept."""
    path = path.resolve()
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(content)
    if path.exists():
        shutil.copymode(path, draft)
    draft.replace(path)
