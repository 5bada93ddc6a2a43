"""Where a checkpoint comes from: a file, a bundle, a hub, a registry -> one file on this machine."""

from reid_audit.origins.fetch import SCHEMES, fetched, is_remote
from reid_audit.origins.interface import Declared, Fetched

__all__ = ["SCHEMES", "Declared", "Fetched", "fetched", "is_remote"]
