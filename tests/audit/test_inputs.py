"""A kept attack run is worth nothing once the code that made it has changed."""

from __future__ import annotations

from pathlib import Path

from reid_audit.audit.inputs import PACKAGE, code_digest


def test_any_change_of_a_source_shows(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "one.py").write_text("a = 1")
    (tmp_path / "inner" / "two.py").write_text("b = 2")
    seen = [code_digest(tmp_path)]
    (tmp_path / "inner" / "two.py").write_text("b = 3")
    seen.append(code_digest(tmp_path))
    (tmp_path / "one.py").rename(tmp_path / "inner" / "one.py")
    seen.append(code_digest(tmp_path))
    assert len(set(seen)) == 3
    (tmp_path / "notes.txt").write_text("not code")
    assert code_digest(tmp_path) == seen[-1]


def test_the_attack_is_part_of_it() -> None:
    assert (PACKAGE / "attack" / "metric.py").is_file()
    assert code_digest(PACKAGE) == code_digest(PACKAGE)
