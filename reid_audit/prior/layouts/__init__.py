"""PGGAN generators of other implementations, recognised by their tensors. A new one is one file and one line here."""

from __future__ import annotations

from reid_audit.errors import PriorError
from reid_audit.prior.layouts import gan_zoo, genforce, segal
from reid_audit.prior.layouts.assemble import Layout, assemble
from reid_audit.prior.pggan import PgganPrior
from reid_audit.prior.storage import PriorFile
from reid_audit.records import PriorCard

LAYOUTS: tuple[Layout, ...] = (segal.LAYOUT, gan_zoo.LAYOUT, genforce.LAYOUT)


def load_foreign(file: PriorFile, *, name: str) -> PgganPrior:
    """The generator in a file of a known foreign layout, called ``name``; its training set is not declared.

    Raises PriorError where no layout fits, naming the closest one.
    """
    for layout in LAYOUTS:
        starts = [
            key[: -len(mark)] for key in file.tensors for mark in layout.markers if f".{key}".endswith(f".{mark}")
        ]
        if starts:
            prefix = min(starts, key=len)
            own = {key.removeprefix(prefix): t.float() for key, t in file.tensors.items() if key.startswith(prefix)}
            try:
                layers = layout.read(own)
                network = assemble(layers)
            except (KeyError, RuntimeError, IndexError, ValueError) as error:
                raise PriorError(
                    f"{name} looks like a {layout.name} generator but does not fit its layout",
                    closest=f"{layout.name}: {error}",
                    remedy="save the generator's state_dict of the published network with safetensors, unchanged",
                ) from error
            card = PriorCard(
                id=name, kind="pggan", sha256=file.sha256, side=4 * 2**layers.level, channels=network.channels
            )
            return PgganPrior(card, network, None, layers.level, layers.alpha)
    names = sorted(file.tensors)
    raise PriorError(
        f"{name} is not a prior of a known layout",
        closest=f"{len(names)} tensors, the first {', '.join(names[:3]) or '(none)'}",
        remedy="give a file of 'reid-audit prior fit|train', or a PGGAN of " + ", ".join(one.name for one in LAYOUTS),
    )
