"""Which code the action installs, and that it runs the real command."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from place import FOLDER, Place, load, notes_of, results, runner

from reid_audit.report import FILES


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.make(tmp_path)


@pytest.mark.parametrize("version", ["main", "1.0; touch hacked", "git+https://example.org/x"])
def test_version_is_a_number_or_a_known_word(place: Place, version: str) -> None:
    job = place.run(0, version=version)
    assert job.code == 3
    assert "Audit" not in job.ran


@pytest.mark.parametrize(("version", "source"), [("", str(FOLDER.parents[1])), ("0.1.0", "reid-audit==0.1.0")])
def test_default_install_is_the_code_of_the_action(place: Place, version: str, source: str) -> None:
    """With a python3 that only pretends to make environments: nothing is downloaded."""
    place.write(results.passing())
    runner.fake_command(place.temp, place.prepared, 0)
    bin_ = place.temp / "bin"
    (bin_ / "reid-audit").rename(bin_ / "prepared")
    (bin_ / "python3").write_text(
        f'''#!/bin/sh
[ "$1 $2 $3" = "-I -m venv" ] || exec "{sys.executable}" "$@"
mkdir -p "$4/bin"
printf '#!/bin/sh\necho "$@" >> "$RUNNER_TEMP/pip"\n' > "$4/bin/python"
chmod +x "$4/bin/python"
ln -s "{bin_ / "prepared"}" "$4/bin/reid-audit"
''',
        encoding="utf-8",
    )
    (bin_ / "python3").chmod(0o755)
    job = runner.run_action(place.workspace, place.temp, {"checkpoint": "model.pt", "version": version}, "push", {})
    assert job.code == 0, job.log
    (line,) = (place.temp / "pip").read_text(encoding="utf-8").splitlines()
    assert line.split() == ["-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", source]
    for earlier in ("reid-audit", "reid-audit-report"):
        shutil.rmtree(place.temp / earlier)
    job = runner.run_action(
        place.workspace, place.temp, {"checkpoint": "model.pt", "version": version, "torch": "cpu"}, "push", {}
    )
    assert job.code == 0, job.log
    first, second = (place.temp / "pip").read_text(encoding="utf-8").splitlines()[1:]
    assert "torch torchvision --index-url" in first
    assert first.endswith("/cpu")
    assert second.endswith(source)


def key_of(place: Place, torch: str = "") -> str:
    job = place.run(0, torch=torch)
    assert "Key of the cache" in job.ran
    keys = [path.read_text(encoding="utf-8") for path in place.temp.glob("output-*")]
    (written,) = (text for text in keys if text.startswith("key="))
    return str(written.splitlines()[-1])


def test_the_cache_is_that_of_the_dependencies(place: Place) -> None:
    place.write(results.passing())
    first = key_of(place)
    assert key_of(place) == first
    assert key_of(place, torch="cpu") != first
    assert "Key of the cache" not in place.run(0, cache="false").ran


def test_a_build_of_torch_is_a_known_word(place: Place) -> None:
    job = place.run(0, version="", torch="rocm; touch hacked")
    assert job.code == 3
    assert "torch must be" in notes_of(job, "error")[0]


def test_the_real_command_on_a_broken_file(place: Place) -> None:
    place.write(results.passing())
    runner.fake_command(place.temp, place.prepared, 0)
    script = place.temp / "bin" / "reid-audit"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m reid_audit "$@"\n', encoding="utf-8")
    inputs = {"checkpoint": "model.pt", "version": "preinstalled", "budget": "5s", "device": "cpu", "profile": "ci"}
    job = runner.run_action(place.workspace, place.temp, inputs, "push", {})
    assert job.code == 3
    assert "reid-audit ended with 3 and wrote no report" in notes_of(job, "error")[0]
    assert "Usage:" not in job.log


def test_file_names_are_those_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER.parents[1] / "action"))
    commands = load(FOLDER.parents[1] / "action" / "commands.py")
    assert commands.REPORTS == FILES
