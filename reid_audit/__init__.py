"""Release gate for medical-imaging models: reconstruct training data from weights, score re-identification risk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reid_audit.api import Images, check, inspect, render

__version__ = "0.1.0"
__all__ = ["Images", "__version__", "check", "inspect", "render"]


def __getattr__(name: str) -> Any:
    """The public functions, imported when they are asked for: the command line starts without torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reid_audit import api

    return getattr(api, name)
