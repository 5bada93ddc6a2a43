"""Rewrite the golden files: ``python tests/report/write_golden.py``. Read the difference before committing it."""

from __future__ import annotations

from pathlib import Path

import results

from reid_audit.report import publish, render

if __name__ == "__main__":
    folder = Path(__file__).parent / "golden"
    for example in results.JUDGED:
        report = publish(example())
        (folder / f"{example.__name__}.json").write_text(render(report, "json"), encoding="utf-8")
        (folder / f"{example.__name__}.md").write_text(render(report, "markdown"), encoding="utf-8")
