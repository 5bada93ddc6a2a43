"""The table of a sweep: what it may say, and everything that is wrong with one at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from reid_audit.cli.check import check
from reid_audit.cli.sweep import PER_ROW, readers
from reid_audit.errors import PolicyError
from reid_audit.sweep.inputs import CONTENT
from reid_audit.sweep.manifest import Entry, read_table, slug


def table(folder: Path, *lines: str) -> Path:
    """A table beside ``a.pt``, ``folds/a.pt`` and a folder of films."""
    (folder / "folds").mkdir(exist_ok=True)
    (folder / "films").mkdir(exist_ok=True)
    for name in ("a.pt", "folds/a.pt"):
        (folder / name).write_bytes(b"weights")
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(path: Path, seeds: Sequence[int] = (0,)) -> tuple[Entry, ...]:
    return read_table(path, readers(), seeds)


def refused(path: Path) -> PolicyError:
    with pytest.raises(PolicyError) as error:
        read(path)
    assert error.value.exit_code == 2
    return error.value


def test_every_column_is_an_option_of_check() -> None:
    assert set(PER_ROW) <= {param.name for param in check.params}
    assert set(readers()) == set(PER_ROW)


def test_the_folders_of_an_absolute_path_are_not_part_of_a_public_name(tmp_path: Path) -> None:
    (found,) = read(table(tmp_path, "checkpoint", str(tmp_path / "folds" / "a.pt")))
    assert found.name == "a"


def test_a_row_is_an_audit_named_after_its_path(tmp_path: Path) -> None:
    found = read(table(tmp_path, "checkpoint", "a.pt", "folds/a.pt", "hf://OWNER/MODEL@v1.2"))
    assert [(one.row, one.name, one.seed) for one in found] == [
        (2, "a", 0),
        (3, "folds-a", 0),
        (4, "hf-OWNER-MODEL-v1.2", 0),
    ]
    assert [one.checkpoint for one in found] == [
        str(tmp_path / "a.pt"),
        str(tmp_path / "folds" / "a.pt"),
        "hf://OWNER/MODEL@v1.2",
    ]


def test_a_row_states_options_and_its_seed_or_has_all_seeds(tmp_path: Path) -> None:
    head = "checkpoint;name;seed;side;reference;holdout;head"
    found = read(table(tmp_path, head, "a.pt;first;7;64;films?fold=1;;softmax", "a.pt;second;;;;;"), seeds=(1, 2))
    assert [(one.name, one.seed) for one in found] == [("first", 7), ("second", 1), ("second", 2)]
    assert found[0].options == {"side": 64, "reference": f"{tmp_path / 'films'}?fold=1", "head": "softmax"}
    assert found[1].options == {}


def test_everything_wrong_is_said_at_once_with_its_row(tmp_path: Path) -> None:
    error = refused(
        table(
            tmp_path,
            "checkpoint,name,seed,side,reference",
            "gone.pt,x,0,,",
            ",,0,,",
            "a.pt,y,-1,,",
            "a.pt,y/z,1,4,",
            "a.pt,z,1,,nowhere",
            "a.pt,same,1,,",
            "folds/a.pt,SAME,1,,",
            "a.pt,w,1,,,more",
            "gone.pt,v,1,,",
        )
    )
    for said in (
        "9 faults",
        "row 2: gone.pt does not exist",
        "row 3: the checkpoint is missing",
        "row 4, seed: -1",
        "row 5, side: 4",
        "row 5: a name has letters",
        "row 6, reference: nowhere does not exist",
        "row 9 has more cells",
    ):
        assert said in error.what, said
    assert "and 1 more" in error.what
    assert len(error.lines()) == 3


def test_audits_that_would_share_a_folder_are_refused(tmp_path: Path) -> None:
    error = refused(table(tmp_path, "checkpoint,seed", "a.pt,1", "folds/a.pt,1", "A.pt,1".lower(), "a.pt,2"))
    assert error.what.endswith("row 4 and row 2 are both called a, with seed 1: tell them apart in a column name")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("checkpoint,sied", "a.pt,3"), "no column is called sied (side?)"),
        (("model", "a.pt"), "there is no column checkpoint"),
        (("checkpoint",), "there is no row below the header"),
        (("checkpoint,checkpoint", "a.pt,a.pt"), "several columns checkpoint"),
    ],
)
def test_a_table_of_another_kind_is_refused(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    assert said in refused(table(tmp_path, *lines)).what


def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "cannot read" in refused(tmp_path / "nowhere.csv").what


def test_names_are_parts_of_files() -> None:
    assert [slug(text) for text in ("../x/y z.ü", "///", "ok-1.2_b")] == ["x-y-z", "checkpoint", "ok-1.2_b"]


def test_a_sweep_looks_into_every_file_that_an_audit_reads() -> None:
    """What decides an audit is digested, so that a changed file is audited again; a new option has to be named here."""
    files = {given.name for given in check.params if isinstance(given.type, click.Path)} - {"out", "cache"}
    assert {(name or "").replace("_", "-") for name in files} <= set(CONTENT)
