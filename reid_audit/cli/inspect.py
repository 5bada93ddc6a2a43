"""``reid-audit inspect``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from reid_audit.checking.options import SIDES
from reid_audit.cli.computing import Computing

if TYPE_CHECKING:
    from reid_audit.arch.networks import Network
    from reid_audit.errors import ArchitectureError
    from reid_audit.origins import Fetched
    from reid_audit.records import ArchMatch, CheckpointSummary

STRONG, DETECTABLE = 1.2, 0.15
"""Stored statistics per unknown pixel: reconstruction was strong down to the first, detectable down to the second."""

TOP = "the top of the file"
SHOWN = 5
"""Tensors that are named where some are left out."""
CARRIED = {
    "stored": "with statistics of the training data",
    "none": "without statistics of the data",
    "missing": "without statistics of the data (missing where they are BatchNorm)",
}


@click.command(cls=Computing)
@click.argument("checkpoint", type=click.Path())
@click.option("--side", type=click.IntRange(*SIDES), help="Pixels of the square network input.")
@click.option("--arch", help="Architecture by name (NAME+groupnorm16 where BatchNorm was replaced).")
@click.option("--arch-factory", "factory", help="package.module:function that builds the network. Runs that code.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def inspect(checkpoint: str, side: int | None, arch: str | None, factory: str | None, as_json: bool) -> int:
    """What CHECKPOINT is, how it was identified, and how much its stored statistics could give away.

    Every network of the file is listed. A file without a known one is still described; the exit code is 3 then.
    """
    from reid_audit.origins import fetched

    with fetched(checkpoint) as model:
        return inspected(model, Asked(side, arch, factory), as_json=as_json)


def inspected(model: Fetched, asked: Asked, *, as_json: bool) -> int:
    """``inspect`` of a file that is here."""
    from reid_audit.checkpoint import load_checkpoint, screen
    from reid_audit.errors import ArchitectureError

    screen(model.file)
    from reid_audit.arch.beside import config_beside  # torch, timm, torchvision: not before the file has passed
    from reid_audit.arch.networks import find_networks

    loaded = load_checkpoint(model.file)
    networks: tuple[Network, ...] = ()
    try:
        networks = find_networks(
            loaded.networks, name=asked.arch, factory=asked.factory, side=asked.side, config=config_beside(model.file)
        )
        refusal = networks[0].refusal
    except ArchitectureError as error:
        refusal = error
    if as_json:
        said = {**document(loaded.summary, networks, refusal), **origin_document(model)}
        click.echo(json.dumps(said, indent=1))
    else:
        for name, text in (*origin_lines(model, networks), *described(loaded.summary, networks)):
            click.echo(f"{name:16} {text}")
    if refusal is not None:
        raise refusal
    return 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What is said of a network that its file does not tell."""

    side: int | None
    arch: str | None
    factory: str | None


def origin_document(model: Fetched) -> dict[str, object]:
    """Where the file came from and what its bundle declares, where there is something to say."""
    found: dict[str, object] = {"origin": model.uri} if model.uri else {}
    return found if model.declared is None else {**found, "declared": asdict(model.declared)}


def origin_lines(model: Fetched, networks: tuple[Network, ...]) -> list[tuple[str, str]]:
    """Where the file came from, what its bundle declares, and where the weights say otherwise."""
    lines = [("origin", model.uri)] if model.uri else []
    declared = model.declared
    if declared is None or not declared.phrases():
        return lines
    lines.append(("declared", ", ".join(declared.phrases())))
    match = networks[0].match if networks else None
    if match is not None and declared.channels not in (None, match.channels):
        lines.append(("doubt", f"{declared.channels} channels are declared, the weights take {match.channels}"))
    return lines


def described(summary: CheckpointSummary, networks: tuple[Network, ...]) -> list[tuple[str, str]]:
    """The file and every network in it, line by line."""
    lines = file_lines(summary)
    for number, network in enumerate(networks, start=1):
        if len(networks) > 1:
            lines.append(("network", f"{number} of {len(networks)}: {network.place}"))
        lines += [("the same weights", f"{where or TOP}: {how}") for where, how in network.copies]
        if network.match is not None:
            lines += network_lines(network.match)
        elif network.refusal is not None and len(networks) > 1:
            lines.append(("architecture", f"not known: {network.refusal.what}; closest: {network.refusal.closest}"))
        if network.beside:
            lines.append(("left out", counted(network.beside)))
    if summary.beside:
        lines.append(("in no network", counted(summary.beside)))
    return [*lines, *(("finding", text) for text in summary.findings)]


def counted(names: tuple[str, ...]) -> str:
    """How many tensors, and the names of the first."""
    return f"{len(names)} tensors: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"


def document(
    summary: CheckpointSummary, networks: tuple[Network, ...], refusal: ArchitectureError | None
) -> dict[str, object]:
    """What ``--json`` prints: the file, its first network, and all of them."""
    first = networks[0].match if networks else None
    return {
        "checkpoint": summary.model_dump(mode="json"),
        **network_document(first),
        "networks": [
            {
                "name": network.place,
                **network_document(network.match),
                "copies": [{"place": where or TOP, "how": how} for where, how in network.copies],
                "beside": list(network.beside),
                "refusal": refused(network.refusal),
            }
            for network in networks
        ],
        "refusal": refused(refusal),
    }


def refused(error: ArchitectureError | None) -> dict[str, str] | None:
    """A refusal in its three lines."""
    return None if error is None else dict(zip(("what", "closest", "help"), error.lines(), strict=True))


def network_document(found: ArchMatch | None) -> dict[str, object]:
    """One network: what it is, and how much its statistics could give away."""
    if found is None:
        return {"architecture": None, "capacity": None}
    pixels = found.side**2
    return {
        "architecture": found.model_dump(mode="json"),
        "same_by_shape": same_by_shape(found),
        "carries_data_statistics": found.data_statistics > 0,
        "capacity": {
            "statistics": found.data_statistics,
            "pixels": pixels,
            "patients": round(found.data_statistics / pixels, 2),
            "strong_up_to": round(found.data_statistics / pixels / STRONG, 2),
            "detectable_up_to": round(found.data_statistics / pixels / DETECTABLE, 2),
        },
    }


def same_by_shape(found: ArchMatch) -> list[str]:
    """Networks that no key or shape tells from the one reported."""
    return [f"{c.library}/{c.name}" for c in found.candidates if c.coverage == found.coverage]


def file_lines(summary: CheckpointSummary) -> list[tuple[str, str]]:
    """The file, line by line."""
    lines = [
        ("file", f"{summary.format}, {summary.bytes:,} bytes, {summary.tensors:,} tensors"),
        ("sha256", summary.sha256),
        ("parameters", f"{summary.parameters:,} ({', '.join(f'{kind} x {n}' for kind, n in summary.dtypes)})"),
    ]
    return [*lines, ("found in", summary.wrapper)] if summary.wrapper else lines


def network_lines(found: ArchMatch) -> list[tuple[str, str]]:
    """The network, line by line."""
    layers = ", ".join(f"{count} {kind}" for kind, count in found.normalisation) or "none"
    carried = CARRIED[found.statistics]
    if found.untouched_statistics:
        carried += f"; {found.untouched_statistics:,} stored values were never updated (0 and 1) and say nothing"
    same = same_by_shape(found)
    lines = [
        ("architecture", f"{found.library} {found.name}, {found.coverage:.1%} of the keys, found by {found.by}"),
        ("same by shape", f"{', '.join(same)}; --arch NAME decides" if same else "none"),
        ("head", f"{found.head}, {found.classes} outputs; input {found.channels} x {found.side} px ({found.side_by})"),
        ("normalisation", f"{layers}, {carried}" if found.normalisation else "none"),
        ("data statistics", capacity_text(found.data_statistics, found.side**2)),
    ]
    lines += [("doubt", text) for text in found.doubts]
    return [*lines, *(("evidence", text) for text in found.evidence)]


def capacity_text(statistics: int, pixels: int) -> str:
    """A rule of thumb: stored statistics over unknown pixels of one film."""
    if statistics == 0:
        return "none stored: nothing to match (the head and the weights may still tell who was in training)"
    return (
        f"{statistics:,} stored values over {pixels:,} pixels a film: as many as {statistics / pixels:.1f} films have; "
        f"reconstruction was strong up to {statistics / pixels / STRONG:.1f} training films, "
        f"detectable up to {statistics / pixels / DETECTABLE:.0f}"
    )
