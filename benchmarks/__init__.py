"""Measurements behind docs/: ``python -m benchmarks.NAME`` at the repository's root; what they share is ``lab``."""
