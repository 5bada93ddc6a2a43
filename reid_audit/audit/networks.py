"""Which networks the request's file holds, and the request and the file as they concern one of them."""

from __future__ import annotations

from dataclasses import replace

from reid_audit.arch.beside import config_beside
from reid_audit.arch.networks import Network, find_networks
from reid_audit.audit.request import AuditRequest
from reid_audit.checkpoint import Checkpoint, load_checkpoint
from reid_audit.checkpoint.load import BUFFERS
from reid_audit.records import NetworkRecord


def networks_of(request: AuditRequest) -> tuple[Checkpoint, tuple[Network, ...]]:
    """The file and its networks, a known one first. Raises AuditError where it cannot be read or none is known."""
    checkpoint = load_checkpoint(request.checkpoint, pickled_code=request.policy.pickled_code)
    naming = request.naming
    networks = find_networks(
        checkpoint.networks,
        name=naming.architecture,
        factory=naming.factory,
        side=naming.side,
        config=config_beside(request.checkpoint),
    )
    if networks[0].refusal is not None:
        raise networks[0].refusal
    return checkpoint, networks


def asked_of(network: Network, request: AuditRequest, *, first: bool) -> AuditRequest:
    """The request as it concerns one network: options that name an architecture count where they fit it."""
    changes: dict[str, object] = {}
    if network.match is not None and network.match.by != "option":
        changes["architecture"] = None
    if network.match is not None and network.match.by != "factory":
        changes["factory"] = None
    if not first and network.match is not None and network.match.head in ("features", "segmentation"):
        changes["policy"] = request.policy.model_copy(update={"head": None})
    return request.model_copy(update=changes)


def alone(checkpoint: Checkpoint, network: Network) -> Checkpoint:
    """The file as if it held that network only; its digest stays the file's."""
    counts = {"tensors": len(network.tensors), "parameters": parameters(network)}
    summary = checkpoint.summary.model_copy(update=counts)
    return replace(checkpoint, tensors=dict(network.tensors), summary=summary, name=network.name, others=())


def record_of(network: Network) -> NetworkRecord:
    """A network of the file before its audit."""
    refusal = network.refusal
    return NetworkRecord(
        name=network.name,
        copies=network.copies,
        beside=network.beside,
        tensors=len(network.tensors),
        parameters=parameters(network),
        why="" if refusal is None else f"{refusal.what} ({refusal.closest})",
        remedy="" if refusal is None else refusal.remedy,
    )


def parameters(network: Network) -> int:
    """Floating-point values of a network's tensors, buffers excluded."""
    own = [v for key, v in network.tensors.items() if v.is_floating_point() and not key.endswith(BUFFERS)]
    return sum(value.numel() for value in own)
