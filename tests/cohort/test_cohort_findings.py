"""Findings that have a column each: read from tables and memory, and asked of a network as those of one cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small import SIDE, SPEC, blobs
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.arch.target import Target
from reid_audit.cohort import Cohort, Frame, Source, load_cohort, survey
from reid_audit.cohort.findings import columns_named, exclusive, marks_of, read_mark, readable, signs_of
from reid_audit.cohort.memory import Images, label_in, write_source
from reid_audit.errors import CohortError
from reid_audit.network.answers import taught_answers
from reid_audit.network.reading import Inputs
from reid_audit.preprocess import to_network
from reid_audit.records import ArchMatch
from reid_audit.score.membership.families import membership_scores

NAMES = ("No Finding", "Cardiomegaly", "Lung Opacity", "Pleural Effusion")
COLUMNS = ",".join(NAMES)
PICTURES = np.arange(128, dtype=np.uint8).reshape(2, 8, 8)


def table(folder: Path, cells: list[tuple[str, ...]], *, one_cell: bool = False, seed: int = 0) -> Path:
    """Films with a CheXpert-like table, or the same findings in one cell as NIH ChestX-ray14 writes them."""
    folder.mkdir()
    lines = ["path,patient_id," + ("finding" if one_cell else COLUMNS)]
    for place, (film, own) in enumerate(zip(blobs(len(cells), seed), cells, strict=True)):
        Image.fromarray((255 * film[0]).byte().numpy()).save(folder / f"{place}.png")
        said = "|".join(name for name, cell in zip(NAMES, own, strict=True) if cell == "1.0") or "nothing"
        lines.append(f"{place}.png,p{place}," + (said if one_cell else ",".join(own)))
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def read(folder: Path, label: str) -> Cohort:
    return load_cohort(Source(folder, label=label), Frame(SPEC, SIDE), "reference")


def test_cells_of_chexpert_are_marks_in_the_order_of_the_columns(tmp_path: Path) -> None:
    folder = table(tmp_path / "films", [("1.0", "", "0.0", "-1.0"), ("", "1.0", "", "1.0"), ("", "", "", "")])
    words = read(folder, COLUMNS).labels
    assert sorted(marks_of(words)) == ["+.-?", ".+.+", "...."]
    assert {readable(word) for word in words} == {"No Finding", "Cardiomegaly and Pleural Effusion", "none of them"}
    signs = signs_of(words)
    assert signs is not None
    assert sorted(signs.tolist()) == [[0, 0, 0, 0], [0, 1, 0, 1], [1, 0, 0, -1]]
    swapped = read(folder, "pleural_effusion, Cardiomegaly").labels
    assert sorted(marks_of(swapped)) == ["++", "..", "?."]


def test_other_words_are_no_marks() -> None:
    assert marks_of(["Mass", "Mass|Edema"]) == []
    assert signs_of(np.array(["+-", "?-"])) is None
    assert readable("Mass|Edema") == "Mass|Edema"
    assert [read_mark(text) for text in ("1", "TRUE", "0.0", "no", "-1", "", "NaN")] == list("++--?..")
    assert exclusive(["+-", "-+", "?-"])
    assert not exclusive(["++"])
    assert not exclusive(["--"])


def test_a_column_that_holds_a_comma_is_one_column(tmp_path: Path) -> None:
    films = table(tmp_path / "films", [("1", "", "", "")] * 2)
    text = (films / "manifest.csv").read_text().replace("No Finding", '"Mass, nodule"').replace(",1,", ",yes,")
    (films / "manifest.csv").write_text(text)
    assert set(read(films, "Mass, nodule").labels) == {"yes"}
    assert set(marks_of(read(films, '"Mass, nodule",Cardiomegaly').labels)) == {"+."}
    assert set(marks_of(read(films, "Cardiomegaly,").labels)) == {"."}
    assert columns_named(" a , b,") == ("a", "b")


def test_cells_that_are_no_findings_are_refused_all_at_once(tmp_path: Path) -> None:
    films = table(tmp_path / "films", [("1", "", "", ""), ("2", "", "", "0.5"), ("", "", "mild", "")])
    found = survey(Source(films, label=COLUMNS), role="reference")
    assert [fault.kind for fault in found.faults] == ["finding"] * 3
    assert found.faults[0].what == "row 3 of manifest.csv has the finding 2 in the column No Finding"
    with pytest.raises(CohortError, match="3 findings that cannot be read"):
        found.refuse()
    with pytest.raises(CohortError, match="no column Edema"):
        read(films, "Cardiomegaly,Edema")


def network(outputs: int) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * (SIDE // 2) ** 2, outputs))


def learned(cohort: Cohort, wanted: Tensor) -> nn.Module:
    """A network that knows the findings [N, F] of the films by heart."""
    module = network(wanted.shape[1])
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(150):
        loss = functional.binary_cross_entropy_with_logits(module(to_network(cohort.images, SPEC, 1)), wanted)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return module.eval().requires_grad_(False)


def scored(module: nn.Module, members: Cohort, others: Cohort) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    match = ArchMatch(
        name="n", library="l", family="f", coverage=1.0, head="sigmoid", classes=len(NAMES), channels=1, side=SIDE
    )
    inputs = Inputs(torch.cat([members.images, others.images]), lambda few: to_network(few, SPEC, 1))
    found = membership_scores(Target(module, match), inputs, np.concatenate([members.labels, others.labels]))
    return found.scores, found.right


def dealt(count: int, seed: int) -> list[tuple[str, ...]]:
    """Findings of ``count`` films, the later ones rarer; a quarter of the others are said to be absent."""
    rng = np.random.default_rng(seed)
    return [
        tuple("1.0" if rng.random() < 0.5 - 0.1 * place else rng.choice(["", "", "", "0.0"]) for place in range(4))
        for _ in range(count)
    ]


def test_membership_by_columns_is_that_by_one_cell(tmp_path: Path) -> None:
    cells = {"members": dealt(24, 1), "others": dealt(24, 2)}
    apart = [read(table(tmp_path / f"{n}-a", own, seed=len(n)), COLUMNS) for n, own in cells.items()]
    one = [read(table(tmp_path / f"{n}-b", own, one_cell=True, seed=len(n)), "finding") for n, own in cells.items()]
    signs = signs_of(apart[0].labels)
    assert signs is not None
    module = learned(apart[0], torch.from_numpy(signs).float())
    (by_columns, right), (by_cell, right_too) = scored(module, *apart), scored(module, *one)
    assert "loss" in by_columns
    assert by_columns.keys() == by_cell.keys()
    for name, score in by_columns.items():
        assert np.allclose(np.sort(score), np.sort(by_cell[name]), atol=1e-5), name
    assert right is not None
    assert right_too is not None
    assert right[:24].mean() > right[24:].mean() + 0.3
    assert sorted(right) == sorted(right_too)
    wrong = read(tmp_path / "members-a", ",".join(reversed(NAMES))), read(tmp_path / "others-a", ",".join(NAMES[::-1]))
    assert np.allclose(scored(module, *wrong)[0]["loss"], by_columns["loss"], atol=1e-5), "the order hides nothing"


def test_an_order_that_the_answers_do_not_contradict_is_kept() -> None:
    words = np.array(["+-\x1fa", "-+\x1fb", "--\x1fnone"])
    doubtful = torch.tensor([[0.1, 0.2], [0.2, 0.1], [-1.0, -1.0]])
    taught = taught_answers("sigmoid", doubtful, words)
    assert taught is not None
    assert taught.tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    sure = taught_answers("sigmoid", 50 * doubtful, words)
    assert sure is not None
    assert sure.tolist() == [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]


def test_what_is_uncertain_keeps_the_networks_own_answer() -> None:
    outputs = torch.tensor([[3.0, -2.0], [-3.0, 2.0], [2.0, -2.0]])
    taught = taught_answers("sigmoid", outputs, np.array(["+?\x1fa", "?+\x1fb", "??\x1fnone"]))
    assert taught is not None
    assert taught.tolist() == [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]


def test_exclusive_classes_may_have_a_column_each() -> None:
    outputs = torch.eye(3)[[1, 2, 0, 1]] * 9
    words = np.array(["+--\x1fa", "-+-\x1fb", "--+\x1fc", "?--\x1fnone"])
    taught = taught_answers("softmax", outputs, words)
    assert taught is not None
    assert taught.tolist() == [1, 2, 0, 1]
    assert taught_answers("softmax", outputs, np.array(["+--\x1fa", "---\x1f", "++-\x1f", "-+-\x1fb"])) is None
    one = taught_answers("softmax", torch.tensor([[4.0, 0.0], [0.0, 4.0]]), np.array(["+\x1fa", ".\x1fnone"]))
    assert one is not None
    assert one.tolist() == [0, 1]
    yes = taught_answers("sigmoid", torch.tensor([[4.0], [-4.0]]), np.array(["+\x1fa", ".\x1fnone"]))
    assert yes is not None
    assert yes.tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("regression", ["+-\x1fa", "-+\x1fb"]),
        ("sigmoid", ["+-+\x1fa", "-+-\x1fb"]),
        ("sigmoid", ["+-\x1fa", "+-\x1fa"]),
    ],
)
def test_columns_that_do_not_fit_the_outputs_are_no_answers(kind: str, words: list[str]) -> None:
    assert taught_answers(kind, torch.randn(2, 2), np.array(words)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("as_tensor", [True, False])
def test_vectors_of_memory_are_columns(tmp_path: Path, *, as_tensor: bool) -> None:
    vectors = np.array([[1, 0, -1], [0, np.nan, 1]])
    labels = torch.from_numpy(vectors) if as_tensor else vectors.tolist()
    source = write_source(Images(PICTURES, labels=labels), tmp_path / "given")
    assert label_in(source) == "finding_1,finding_2,finding_3"
    assert sorted(marks_of(read(source, "finding_1,finding_2,finding_3").labels)) == ["+-?", "-.+"]
    pairs = [(film, vector) for film, vector in zip(PICTURES, vectors, strict=True)]
    assert label_in(write_source(pairs, tmp_path / "pairs")) == "finding_1,finding_2,finding_3"
    assert label_in(write_source(Images(PICTURES, labels=[[1], [0]]), tmp_path / "one")) == "finding_1,"
    assert label_in(write_source(PICTURES, tmp_path / "none")) is None
    numbers = Images(PICTURES, labels=[[0.2, 0.3], [0.1, 1.0]])
    assert label_in(write_source(numbers, tmp_path / "numbers")) is None
