"""What a check does when the machine fails it: killed, told to stop, no disk, no memory, no device, a jumping clock.

    python -m benchmarks.faults [--kills 50] [--only kill] [--kept kills.jsonl] [--doc docs/performance.md]

Every fault strikes a small audit of generated films. It must end in a verdict, or in code 3 with the three lines of a
refusal; then the same command with --resume must give the report of an audit that nothing happened to, without times
and to ``DIGITS`` digits of every number, and take over every attack run that was finished. Linux; a small file system
of its own, for a disk that is really full, needs root. Kills at random moments are written to ``--kept`` one by one;
those in the file are not made again, so that a benchmark that is stopped goes on.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.lab.pages import Row, publish

HEAD = (
    "fault",
    "when",
    "times",
    "ended with",
    "three lines",
    "then the same report",
    "to the last bit",
    "runs lost",
)
POLICY = """[preprocess]
side = 32
mean = [0.5]
std = [0.5]
[budget]
steps = 3
particles = [4]
[references]
when = "off"
"""
FILMS = 240
TIMES = frozenset({"started", "seconds", "spent_seconds", "note"})
"""Keys of report.json that hold a time, or say that an attack run was taken over."""
DIGITS = 4
"""Reports show three."""
VERDICTS = frozenset({0, 1, 4})
SCENES = (
    ("int", "linkage"),
    ("term", "linkage"),
    ("term", "writing reports"),
    ("kill", "writing reports"),
    ("no-space", "network and prior"),
    ("no-space", "linkage"),
    ("no-space", "writing reports"),
    ("full-disk", "linkage"),
    ("full-disk", "writing reports"),
    ("no-memory", "network and prior"),
    ("no-memory", "linkage"),
    ("no-device-memory", "linkage"),
    ("lost-device", "linkage"),
    ("clock", "loading libraries"),
)
"""A fault of ``benchmarks.lab.faulty``, and the stage at whose beginning it strikes."""
DAC_OVERRIDE, DAC_READ_SEARCH, DROP = 1, 2, 24
"""Of Linux: what lets root write where it may not, and the call that takes it away."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    said: tuple[str, ...]
    """The last three lines of stderr."""
    seconds: float

    @property
    def refused(self) -> bool:
        """Whether those are a refusal."""
        return [line.partition(":")[0] for line in self.said] == ["not audited", "closest", "help"]

    @property
    def clean(self) -> bool:
        """Whether it is a verdict, or says in three lines why there is none."""
        return self.code in VERDICTS or (self.code == 3 and self.refused)


@dataclass(frozen=True, slots=True)
class Bed:
    """A folder with everything that an audit of seconds needs."""

    folder: Path

    def words(self, out: str, *more: str) -> list[str]:
        """Of ``check``, with a folder of its own for reports and cache."""
        films = f"films/films-{FILMS}.csv"
        cohorts = ["--reference", f"{films}?split=target", "--holdout", f"{films}?split=holdout"]
        settled = ["--indicators-only", "--demographics", "off"]
        return ["check", "net.safetensors", *cohorts, *settled, "--out", f"{out}/out", "--cache", f"{out}/cache", *more]

    def run(
        self, command: Sequence[str], *, killed_after: float | None = None, before: Callable[[], None] | None = None
    ) -> Ended:
        """Run Python with ``command`` here; end it with SIGKILL after so many seconds."""
        began = time.monotonic()
        paths = os.pathsep.join((str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")))
        process = subprocess.Popen(
            [sys.executable, *command], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}, preexec_fn=before,
        )  # fmt: skip
        try:
            said = process.communicate(timeout=killed_after)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[1]
        return Ended(process.returncode, tuple(said.splitlines()[-3:]), time.monotonic() - began)

    def check(self, out: str, *more: str, killed_after: float | None = None) -> Ended:
        """``reid-audit check``."""
        return self.run(["-m", "reid_audit", *self.words(out, *more)], killed_after=killed_after)

    def struck(self, fault: str, stage: str, out: str) -> Ended:
        """``reid-audit check`` with a fault."""
        return self.run(["-m", "benchmarks.lab.faulty", fault, stage, *self.words(out)])

    def report(self, out: str) -> dict[str, Any] | None:
        """The latest report without its times; None where there is none."""
        path = self.folder / out / "out" / "latest" / "report.json"
        return without_times(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def kept(self, out: str) -> set[str]:
        """Names of the attack runs that any run below ``out`` keeps."""
        return {path.stem for path in (self.folder / out).glob("out/2*/restricted/attack_runs/*.safetensors")}


def without_times(document: Any) -> Any:
    """``document`` without the values of ``TIMES``."""
    if isinstance(document, dict):
        return {key: without_times(value) for key, value in document.items() if key not in TIMES}
    return [without_times(value) for value in document] if isinstance(document, list) else document


def shown(document: Any) -> Any:
    """``document`` with its numbers to ``DIGITS`` digits."""
    if isinstance(document, dict):
        return {key: shown(value) for key, value in document.items()}
    if isinstance(document, float):
        return float(f"{document:.{DIGITS}g}")
    return [shown(value) for value in document] if isinstance(document, list) else document


def laid(folder: Path) -> Bed:
    """Films and a network that holds their statistics."""
    import timm

    from benchmarks.lab.generated import write_films, write_network

    manifest = write_films(folder / "films", FILMS)
    write_network(
        folder / "net.safetensors", manifest, 32, lambda: timm.create_model("test_efficientnet", num_classes=2)
    )
    (folder / "reid-audit.toml").write_text(POLICY, encoding="utf-8")
    return Bed(folder)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One fault, and the same command after it."""

    ended: Ended
    same: bool
    """Whether that gave the report of an audit that nothing happened to."""
    exact: bool
    """Whether it did so to the last bit."""
    lost: int
    """Attack runs that had been finished and were made again."""
    differing: tuple[str, ...] = ()
    """Where in the report any digit differs."""

    @classmethod
    def read(cls, line: str) -> Outcome:
        """What ``written`` made."""
        known = json.loads(line)
        ended = Ended(known["ended"]["code"], tuple(known["ended"]["said"]), known["ended"]["seconds"])
        return cls(ended, known["same"], known["exact"], known["lost"], tuple(known["differing"]))

    def written(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


def after(bed: Bed, out: str, ended: Ended, untouched: dict[str, Any]) -> Outcome:
    """Go on from what is left in ``out``."""
    before = bed.kept(out)
    resumed = bed.check(out, "--resume")
    again = {path.stem for run in newest(bed.folder / out / "out") for path in run.glob("restricted/attack_runs/*")}
    return compared(bed, out, ended if resumed.code in VERDICTS else resumed, untouched, len(before & again))


def compared(bed: Bed, out: str, ended: Ended, untouched: dict[str, Any], lost: int) -> Outcome:
    """The latest report of ``out`` beside that of an audit that nothing happened to."""
    found = bed.report(out)
    lost = 0 if ended.code in VERDICTS else lost
    where = tuple(differing(found, untouched))
    return Outcome(ended, shown(found) == shown(untouched), not where, lost, where)


def differing(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Where two documents differ, and what either holds there."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from differing(one[key], other[key], f"{place}/{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differing(left, right, f"{place}/{number}")
    elif one != other:
        yield f"{place}: {one!r:.80}, {other!r:.80}"


def newest(out: Path) -> list[Path]:
    """The run that ``latest`` leads to, if any."""
    return [(out / "latest").resolve()] if (out / "latest").exists() else []


def random_kills(bed: Bed, count: int, untouched: dict[str, Any], whole: float, kept: Path | None) -> list[Outcome]:
    """SIGKILL at so many moments between the start and the end of an audit, which took ``whole`` seconds."""
    draw, lines = random.Random(0), kept.read_text(encoding="utf-8").splitlines() if kept and kept.is_file() else []
    moments, found = [draw.uniform(0.0, whole) for _ in range(count)], [Outcome.read(line) for line in lines]
    for number in range(len(found), count):
        out, moment = f"kill-{number}", moments[number]
        ended = bed.check(out, killed_after=moment)
        found.append(after(bed, out, ended, untouched))
        if kept is not None:
            with kept.open("a", encoding="utf-8") as file:
                file.write(found[-1].written() + "\n")
        print(f"kill {number + 1} of {count} after {moment:.1f} s: {ended.code}, {found[-1].same}", flush=True)
        shutil.rmtree(bed.folder / out, ignore_errors=True)
    return found


def one(bed: Bed, fault: str, stage: str, untouched: dict[str, Any]) -> Outcome | None:
    """A fault at a stage; None where this machine cannot stage it."""
    out = f"{fault}-{stage.replace(' ', '-')}"
    shutil.rmtree(bed.folder / out, ignore_errors=True)
    if fault != "full-disk":
        return after(bed, out, bed.struck(fault, stage, out), untouched)
    (bed.folder / out).mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "none", str(bed.folder / out)], check=False
    ).returncode:
        return None
    try:
        os.environ["FAULTY_DISK"] = str(bed.folder / out)
        ended = bed.struck(fault, stage, out)
        (bed.folder / out / "filler").unlink(missing_ok=True)
        return after(bed, out, ended, untouched)
    finally:
        subprocess.run(["umount", str(bed.folder / out)], check=True)


def forbidden(bed: Bed, untouched: dict[str, Any]) -> Outcome:
    """A folder that may not be written; made writable, the same command gives the report."""
    out = bed.folder / "read-only"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(mode=0o500)
    ended = bed.run(["-m", "reid_audit", *bed.words(out.name)], before=as_anybody)
    out.chmod(0o700)
    return after(bed, out.name, ended, untouched)


def as_anybody() -> None:
    """Let root, too, keep to the modes of files."""
    for capability in (DAC_OVERRIDE, DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(DROP, capability)


def row(fault: str, when: str, found: Sequence[Outcome]) -> Row:
    """One line of the table."""
    codes = sorted({outcome.ended.code for outcome in found})
    clean = sum(outcome.ended.clean for outcome in found)
    killed = fault == "kill"
    return (
        fault,
        when,
        str(len(found)),
        ", ".join("SIGKILL" if code == -9 else str(code) for code in codes),
        "-" if killed or set(codes) <= VERDICTS else f"{clean} of {len(found)}",
        f"{sum(outcome.same for outcome in found)} of {len(found)}",
        f"{sum(outcome.exact for outcome in found)} of {len(found)}",
        str(sum(outcome.lost for outcome in found)),
    )


def measured(bed: Bed, options: argparse.Namespace) -> list[Row]:
    """A row a fault."""
    whole = bed.check("untouched")
    untouched = bed.report("untouched")
    if whole.code not in VERDICTS or untouched is None:
        raise SystemExit("\n".join(whole.said))
    rows = [row("nothing", "-", [compared(bed, "second", bed.check("second"), untouched, 0)])]
    if options.only in (None, "kill") and options.kills:
        rows.append(
            row("kill", "at random moments", random_kills(bed, options.kills, untouched, whole.seconds, options.kept))
        )
    if options.only in (None, "read-only"):
        rows.append(row("read-only", "from the start", [forbidden(bed, untouched)]))
    for fault, stage in SCENES:
        if options.only in (None, fault):
            outcome = one(bed, fault, stage, untouched)
            rows += [] if outcome is None else [row(fault, f"as *{stage}* begins", [outcome])]
            print(" | ".join(rows[-1]), flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="random moments at which an audit is killed")
    parser.add_argument("--only", help="one fault, by its name in the table")
    parser.add_argument("--kept", type=Path, help="file that keeps a line for each kill at a random moment")
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(laid(Path(folder)), options)
    publish(HEAD, rows, options.doc, keys=2, mark="faults")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
