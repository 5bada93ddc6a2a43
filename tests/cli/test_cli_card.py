"""``reid-audit card``: what it writes, and everything it refuses in three lines."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
import results

from reid_audit.cli import exit_code
from reid_audit.records import AuditResult
from reid_audit.report import publish, write_reports
from reid_audit.store import write_private

WEIGHTS = b"weights, as far as a card can tell"
CARD = "---\nlicense: mit\n---\n\n# Model\n"
pytest.importorskip("huggingface_hub")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a card, weights beside it, and a finished run that passed in ``out``."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "README.md").write_text(CARD, encoding="utf-8")
    (tmp_path / "model" / "model.safetensors").write_bytes(WEIGHTS)
    finish(tmp_path, results.passing())
    return tmp_path


def finish(place: Path, result: AuditResult, weights: bytes = WEIGHTS) -> None:
    checkpoint = result.checkpoint.model_copy(update={"sha256": hashlib.sha256(weights).hexdigest()})
    result = result.model_copy(update={"checkpoint": checkpoint})
    write_reports(publish(result), place / "out")
    write_private(place / "out" / "restricted" / "result.json", result.model_dump_json())


def run(place: Path, *more: str) -> int:
    return exit_code(["card", str(place / "out"), str(place / "model" / "README.md"), *more])


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert [line.split(":")[0] for line in said.splitlines()][1:] == ["closest", "help"], said
    return said


def test_writes_the_card_and_the_report_beside_it(place: Path) -> None:
    assert run(place) == 0
    first = (place / "model" / "README.md").read_bytes()
    assert b"**Pass.**" in first
    assert b"](reid-audit-report.html)" in first
    page = (place / "model" / "reid-audit-report.html").read_bytes()
    assert page == (place / "out" / "report.html").read_bytes()
    assert run(place) == 0
    assert (place / "model" / "README.md").read_bytes() == first
    assert sorted(p.name for p in (place / "model").iterdir()) == [
        "README.md",
        "model.safetensors",
        "reid-audit-report.html",
    ]


def test_the_public_report_is_enough(place: Path) -> None:
    report = place / "out" / "report.json"
    assert exit_code(["card", str(report), str(place / "model" / "README.md")]) == 0
    alone = (place / "model" / "README.md").read_bytes()
    assert run(place) == 0
    assert (place / "model" / "README.md").read_bytes() == alone


def test_a_link_is_used_as_given(place: Path) -> None:
    assert run(place, "--link", "https://example.org/r.html?x=1") == 0
    assert "](https://example.org/r.html?x=1)" in (place / "model" / "README.md").read_text()
    assert not (place / "model" / "reid-audit-report.html").exists()
    assert run(place, "--link", "x) [y](z") == 2


def test_byte_order_mark_and_mode_stay(place: Path) -> None:
    card = place / "model" / "README.md"
    card.write_bytes(b"\xef\xbb\xbf" + CARD.replace("\n", "\r\n").encode())
    card.chmod(0o640)
    assert run(place) == 0
    text = card.read_bytes()
    assert text.startswith(b"\xef\xbb\xbf---\r\nlicense: mit\r\nreid_audit:\r\n")
    assert b"\n" not in text.replace(b"\r\n", b"")
    assert card.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["failing", "screening"])
def test_only_a_pass_is_written_unless_said_otherwise(
    place: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(place, getattr(results, name)())
    assert run(place) == 2
    assert "--allow-not-passed" in refused(capsys)
    assert (place / "model" / "README.md").read_text() == CARD
    assert run(place, "--allow-not-passed") == 0
    assert f"**{'Fail' if name == 'failing' else 'Inconclusive'}.**" in (place / "model" / "README.md").read_text()


def test_other_weights_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(place, results.passing(), b"another checkpoint")
    assert run(place) == 3
    assert "belongs to other weights" in refused(capsys)
    (place / "audited.pt").write_bytes(b"another checkpoint")
    assert run(place, "--weights", str(place / "audited.pt")) == 0
    assert run(place, "--weights", str(place / "model" / "model.safetensors")) == 3
    assert run(place, "--weights", str(place / "nothing.pt")) == 3


def test_no_weights_beside_the_card(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "model" / "model.safetensors").unlink()
    assert run(place) == 3
    assert "--weights" in refused(capsys)


BAD_CARDS: dict[str, bytes | None] = {
    "missing": None,
    "not text": b"\xff\xfe\x00",
    "bad metadata": b"---\nlicense: [\n---\n",
    "list as metadata": b"---\n- a\n---\n",
    "metadata in braces": b"---\n{license: mit}\n---\n",
    "half a section": b"# x\n<!-- reid-audit:start -->\n",
}


@pytest.mark.parametrize("name", BAD_CARDS)
def test_bad_cards_are_refused_untouched(place: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    card, content = place / "model" / "README.md", BAD_CARDS[name]
    card.unlink() if content is None else card.write_bytes(content)
    assert run(place) == 2
    refused(capsys)
    assert not (place / "model" / "reid-audit-report.html").exists()
    assert (card.read_bytes() if card.exists() else None) == content


def test_no_run_and_a_damaged_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["card", str(place / "nowhere"), str(place / "model" / "README.md")]) == 3
    refused(capsys)
    (place / "out" / "report.json").write_text("{}")
    assert exit_code(["card", str(place / "out" / "report.json"), str(place / "model" / "README.md")]) == 3
    refused(capsys)


def test_without_the_extra(place: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert run(place) == 2
    assert "pip install 'reid-audit[hub]'" in refused(capsys)
    assert (place / "model" / "README.md").read_text() == CARD
