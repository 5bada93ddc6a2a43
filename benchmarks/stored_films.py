"""The same films in every way hospitals store them: does an audit see the same exposure?

    python -m benchmarks.stored_films [--ways png "12 bit"] [--doc docs/films.md]

The demo's overfit CNN (16 phantom patients, 32 px) and 120 other people, each film written as PNG, as DICOM of several
kinds and as 16-bit PNG. Every row is one ``reid-audit check`` without an attack (``--method prior``): 14 CPU seconds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.lab.pages import Row, publish
from reid_audit.cohort import Cohort

Film = NDArray[np.uint8]
Way = Callable[[Path, Film], object]
RLE = "1.2.840.10008.1.2.5"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG_LS = "1.2.840.10008.1.2.4.80"
EXPLICIT = "1.2.840.10008.1.2.1"
TWELVE_IN_SIXTEEN = "{ range = [0, 4095] }"
HEAD = ("stored as", "`scaling`", "membership AUC", "TPR at 1 % false alarms", "verdict")
POLICY = "[preprocess]\nside = 32\nmean = [0.0]\nstd = [1.0]\n{scaling}\n[controls]\nattack_power = false\n"


def widened(film: Film, bits: int) -> NDArray[np.uint16]:
    """The film's 0 to 255 spread over ``bits`` bits, rounded."""
    spread: NDArray[np.uint16] = (film.astype(np.float64) * (2**bits - 1) / 255).round().astype(np.uint16)
    return spread


def dicom(path: Path, pixels: NDArray[Any], bits: int, *, syntax: str = EXPLICIT, **tags: Any) -> Path:
    """``pixels`` [H, W], [H, W, 3] or [frames, H, W] as DICOM with the given tags."""
    pydicom = importlib.import_module("pydicom")
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = EXPLICIT
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = pydicom.uid.generate_uid()
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    data.SamplesPerPixel = 3 if colour else 1
    if colour:
        data.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.Rows, data.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    wide = pixels.astype((np.uint16 if pixels.dtype.kind == "u" else np.int16) if bits > 8 else np.uint8)
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 * wide.itemsize, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = wide.tobytes()
    if syntax != EXPLICIT:
        data.compress(syntax, generate_instance_uid=False)
    data.save_as(path, enforce_file_format=True)
    return path


def jpeg_lossless(path: Path) -> Path:
    """The DICOM file at ``path`` as JPEG lossless, the encoding of many X-ray machines."""
    gdcm = importlib.import_module("gdcm")
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    if not writer.Write():
        raise OSError(f"{path} cannot be written as JPEG lossless")
    return path


def _twelve(**options: Any) -> Way:
    return lambda path, film: dicom(path, widened(film, 12), 12, **options)


def _dark_is_large(path: Path, film: Film, **tags: Any) -> None:
    dicom(path, 4095 - widened(film, 12), 12, **tags)


WAYS: dict[str, Way] = {
    "png": lambda path, film: Image.fromarray(film).save(path, format="PNG"),
    "12 in 16 bit png": lambda path, film: Image.fromarray(widened(film, 12)).save(path, format="PNG"),
    "8 bit": lambda path, film: dicom(path, film, 8),
    "12 bit": _twelve(),
    "16 bit": lambda path, film: dicom(path, widened(film, 16), 16),
    "rle": _twelve(syntax=RLE),
    "jpeg 2000": _twelve(syntax=JPEG_2000),
    "jpeg-ls": _twelve(syntax=JPEG_LS),
    "jpeg lossless": lambda path, film: jpeg_lossless(dicom(path, widened(film, 12), 12)),
    "monochrome1": lambda path, film: _dark_is_large(
        path, film, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"
    ),
    "inverse presentation lut": lambda path, film: dicom(path, 255 - film, 8, PresentationLUTShape="INVERSE"),
    "negative slope": lambda path, film: _dark_is_large(path, film, RescaleSlope="-1", RescaleIntercept="4095"),
    "signed": lambda path, film: dicom(path, widened(film, 12).astype(np.int16) - 2048, 12),
}
"""How one film is stored -> a function that stores it so."""


def write(folder: Path, cohort: Cohort, way: Way) -> None:
    """The cohort's films under names without endings, with a manifest."""
    folder.mkdir(parents=True)
    lines = ["path,patient_id"]
    for i, (image, patient) in enumerate(zip(cohort.images, cohort.patients.tolist(), strict=True)):
        way(folder / f"IM{i:04d}", (image[0].numpy() * 255).round().astype(np.uint8))
        lines.append(f"IM{i:04d},{patient}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def audited(folder: Path, checkpoint: Path, scaling: str) -> dict[str, Any]:
    """The report of a ``check`` on the folder's two sides under ``scaling`` as TOML, or none where it is empty."""
    policy, out = folder / "policy.toml", folder / "out"
    policy.write_text(POLICY.format(scaling=f"scaling = {scaling}" if scaling else ""), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "reid_audit",
        "check",
        str(checkpoint),
        "--policy",
        str(policy),
        "--method",
        "prior",
    ]
    sides = ["--reference", str(folder / "reference"), "--holdout", str(folder / "holdout")]
    subprocess.run([*command, *sides, "--out", str(out), "--quiet"], check=False)
    report: dict[str, Any] = json.loads(next(out.rglob("report.json")).read_text(encoding="utf-8"))
    return report


def measure(ways: list[str]) -> Iterator[Row]:
    """One row a way and a declaration that says something about it."""
    from reid_audit.demo.phantom import phantom_cohort
    from reid_audit.demo.targets import checkpoint_path, reference_films

    sides = {
        "reference": reference_films("overfit_cnn"),
        "holdout": phantom_cohort(120, side=32, seed=202, role="holdout", films=(1, 1)),
    }
    for way in ways:
        for scaling in ("", TWELVE_IN_SIXTEEN) if "in 16" in way else ("",):
            with tempfile.TemporaryDirectory() as place:
                for side, cohort in sides.items():
                    write(Path(place) / side, cohort, WAYS[way])
                report = audited(Path(place), checkpoint_path("overfit_cnn"), scaling)
            found = {m["metric"]: m.get("value") for m in report["measurements"]}
            figures = (found["membership_auc"], found["membership_tpr_at_1pct_fpr"])
            auc, share = ("–" if value is None else f"{value:.2f}" for value in figures)
            yield way, f"`{scaling}`" if scaling else "not declared", auc, share, report["verdict"]["outcome"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    publish(HEAD, list(measure(options.ways)), options.doc, keys=2, mark="stored")


if __name__ == "__main__":
    main()
