"""PGGAN generators of other implementations, recognised by their tensors. A new one is one file and one line here."""

from __future__ import annotations

from reid_audit.artefacts.storage import PriorFile
from reid_audit.errors import PriorError
from reid_audit.prior.layouts import gan_zoo, genforce, segal
from reid_audit.prior.layouts.assemble import Layout, assemble
from reid_audit.prior.pggan import PgganPrior
from reid_audit.records import PriorCard

LAYOUTS: tuple[Layout, ...] = (segal.LAYOUT, gan_zoo.LAYOUT, genforce.LAYOUT)


def layout_of(file: PriorFile) -> tuple[Layout, str] | None:
    """The layout whose tensors a file holds, with the prefix of their names; None where there is none."""
    for layout in LAYOUTS:
        starts = [
            key[: -len(mark)] for key in file.tensors for mark in layout.markers if f".{key}".endswith(f".{mark}")
        ]
        if starts:
            return layout, min(starts, key=len)
    return None


def load_foreign(file: PriorFile, *, name: str) -> PgganPrior:
    """The generator in a file of a known foreign layout, called ``name``; its training set is not declared.

    Raises PriorError where no layout fits, naming the closest one.
    """
    found = layout_of(file)
    if found is None:
        names = sorted(file.tensors)
        raise PriorError(
            f"{name} is not a prior of a known layout",
            closest=f"{len(names)} tensors, the first {', '.join(names[:3]) or '(none)'}",
            remedy="give a file of 'reid-audit prior fit|train', or a PGGAN of "
            + ", ".join(one.name for one in LAYOUTS),
        )
    layout, prefix = found
    own = {key.removeprefix(prefix): t.float() for key, t in file.tensors.items() if key.startswith(prefix)}
    try:
        layers = layout.read(own)
        network = assemble(layers)
    except (KeyError, RuntimeError, IndexError, ValueError) as error:
        missing = f"no tensor {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise PriorError(
            f"{name} looks like a {layout.name} generator but does not fit its layout",
            closest=f"{layout.name}: {missing}",
            remedy="save the generator's state_dict of the published network with safetensors, unchanged",
        ) from error
    card = PriorCard(id=name, kind="pggan", sha256=file.sha256, side=4 * 2**layers.level, channels=network.channels)
    return PgganPrior(card, network, None, layers.level, layers.alpha)
