"""One 8-bit film written in the ways hospitals store it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from conftest import missing
from numpy.typing import NDArray
from PIL import Image

Film = NDArray[np.uint8]
RLE = "1.2.840.10008.1.2.5"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG_LS = "1.2.840.10008.1.2.4.80"
EXPLICIT = "1.2.840.10008.1.2.1"


def smooth_film(seed: int, height: int = 48, width: int = 40) -> Film:
    """[height, width] blobs from black to white, no two seeds alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 5), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def widened(film: Film, bits: int) -> NDArray[np.uint16]:
    """The film's 0 to 255 spread over ``bits`` bits, rounded."""
    return (film.astype(np.float64) * (2**bits - 1) / 255).round().astype(np.uint16)


def dicom(path: Path, pixels: NDArray[Any], bits: int, *, syntax: str = EXPLICIT, **tags: Any) -> Path:
    """``pixels`` [H, W], [H, W, 3] or [frames, H, W] as DICOM; a tag given as None is left out."""
    try:
        pydicom = importlib.import_module("pydicom")
    except ImportError:
        missing("pydicom")
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
    try:
        gdcm = importlib.import_module("gdcm")
    except ImportError:
        missing("gdcm")
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path


def _png(path: Path, film: Film) -> None:
    Image.fromarray(film).save(path, format="PNG")


def _twelve_in_sixteen(path: Path, film: Film) -> None:
    Image.fromarray(widened(film, 12)).save(path, format="PNG")


def _of_bits(bits: int, **options: Any) -> Callable[[Path, Film], None]:
    return lambda path, film: dicom(path, film if bits == 8 else widened(film, bits), bits, **options) and None


def _negative_slope(path: Path, film: Film) -> None:
    dicom(path, 4095 - widened(film, 12), 12, RescaleSlope="-1", RescaleIntercept="4095")


def _monochrome1(path: Path, film: Film) -> None:
    dicom(path, 4095 - widened(film, 12), 12, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")


def _inverse_lut(path: Path, film: Film) -> None:
    dicom(path, 255 - film, 8, PresentationLUTShape="INVERSE")


def _signed(path: Path, film: Film) -> None:
    dicom(path, widened(film, 12).astype(np.int16) - 2048, 12)


def _jpeg_lossless(path: Path, film: Film) -> None:
    jpeg_lossless(dicom(path, widened(film, 12), 12))


WAYS: dict[str, Callable[[Path, Film], None]] = {
    "png": _png,
    "12 in 16 bit png": _twelve_in_sixteen,
    "8 bit": _of_bits(8),
    "12 bit": _of_bits(12),
    "16 bit": _of_bits(16),
    "rle": _of_bits(12, syntax=RLE),
    "jpeg 2000": _of_bits(12, syntax=JPEG_2000),
    "jpeg-ls": _of_bits(12, syntax=JPEG_LS),
    "jpeg lossless": _jpeg_lossless,
    "monochrome1": _monochrome1,
    "inverse presentation lut": _inverse_lut,
    "negative slope": _negative_slope,
    "signed": _signed,
}
"""How one film is stored -> a function that stores it so."""
