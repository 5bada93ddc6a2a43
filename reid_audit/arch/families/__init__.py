"""Conventions beyond torchvision and timm: families of networks that are recognised by how they name their keys."""

from __future__ import annotations

from reid_audit.arch.families.assemble import Built, describe, load
from reid_audit.arch.families.base import Config, Family, Recipe
from reid_audit.arch.families.table import FAMILIES, by_name, read, recognise

__all__ = ["FAMILIES", "Built", "Config", "Family", "Recipe", "by_name", "describe", "load", "read", "recognise"]
