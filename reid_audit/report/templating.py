"""Templates: inside the installed package first, in the repository's ``templates/`` second (an editable install)."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from reid_audit.report.words import duration, interval, number, threshold


def source(name: str) -> str:
    """Text of the template file ``name``; FileNotFoundError where neither place has it."""
    packaged = resources.files("reid_audit") / "templates" / name
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).resolve().parents[2] / "templates" / name).read_text(encoding="utf-8")


def breakable(name: str) -> Markup:
    """An id that may break after its underscores, so that no column is as wide as the longest."""
    return Markup("_<wbr>").join(name.split("_"))


def page(name: str, *, sheets: tuple[str, ...] = ("report.css",), **values: object) -> str:
    """Render ``name`` with its style sheets, the only style that the page's content-security policy lets in."""
    environment = Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(id=breakable, number=number, threshold=threshold, interval=interval, duration=duration)
    style = "".join(source(sheet) for sheet in sheets)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    text = environment.get_template(name).render(style=Markup(style), style_hash=digest, **values)
    return text.replace(" %", "\u00a0%")
