"""Bytes -> Checkpoint, without ever running what is in the file."""

from reid_audit.checkpoint.load import Checkpoint, Weights, load_checkpoint, screen

__all__ = ["Checkpoint", "Weights", "load_checkpoint", "screen"]
