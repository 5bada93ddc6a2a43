"""``python -m reid_audit``."""

from reid_audit.cli import run

run()
