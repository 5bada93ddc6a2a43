"""The data-protection edition as PDF, printed by a Chromium on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from reid_audit.errors import RunStateError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 120.0
"""How long a browser may take for one document."""


def to_pdf(html: str) -> bytes:
    """``html`` printed. Raises RunStateError where nothing here can print, or the printer fails."""
    browser = os.environ.get("REID_AUDIT_CHROMIUM") or next((p for p in map(shutil.which, BROWSERS) if p), None)
    if browser is None:
        raise RunStateError(
            "a PDF needs Chromium or Chrome, and neither is here",
            closest="the same edition as HTML: --format data-protection, which any browser prints",
            remedy="print the HTML in a browser, or install Chromium (REID_AUDIT_CHROMIUM names one)",
        )
    return _by_chromium(html, browser)


def _by_chromium(html: str, browser: str) -> bytes:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # the browser may still write its profile
        source, target = Path(folder, "report.html"), Path(folder, "report.pdf")
        source.write_text(html, encoding="utf-8")
        flags = ["--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        flags += ["--disable-dev-shm-usage", "--no-pdf-header-footer", f"--user-data-dir={Path(folder, 'profile')}"]
        flags += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        command = [browser, *flags, f"--print-to-pdf={target}", source.as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
            if done.returncode == 0 and target.is_file():
                return target.read_bytes()
            why = f"exit code {done.returncode}"
        except (OSError, subprocess.TimeoutExpired) as error:
            why = type(error).__name__
        raise RunStateError(
            f"{Path(browser).name} did not print the report",
            closest=why,
            remedy="print the HTML edition in a browser: --format data-protection",
        )
