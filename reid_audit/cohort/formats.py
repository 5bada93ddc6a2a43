"""What a file is, by its first bytes and not by its name."""

from __future__ import annotations

import gzip
import struct
import zlib
from enum import StrEnum
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile, ZipFile


class Format(StrEnum):
    """A kind of file that can hold films."""

    PICTURE = "picture"
    """PNG, JPEG, JPEG 2000, TIFF, BMP, WebP, GIF"""
    NPY = "npy"
    NPZ = "npz"
    DICOM = "dicom"
    NIFTI = "nifti"
    """NIfTI-1 and NIfTI-2, packed or not: every slice of a volume is a film."""
    VOLUME = "volume"
    """NRRD, MetaImage: refused, because how slices were cut and turned for training they do not say."""


ARRAYS = (Format.NPY, Format.NPZ)
READABLE = "PNG, JPEG, JPEG 2000, TIFF, BMP, WebP, GIF, NPY, NPZ, DICOM and NIfTI are read"
IMAGE_SUFFIXES = {
    **dict.fromkeys(
        (".png", ".jpg", ".jpeg", ".jp2", ".j2k", ".tif", ".tiff", ".bmp", ".webp", ".gif"), Format.PICTURE
    ),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), Format.DICOM),
    ".npy": Format.NPY,
    ".npz": Format.NPZ,
    ".nii": Format.NIFTI,
    **dict.fromkeys((".nrrd", ".mha"), Format.VOLUME),
}
"""Endings that promise a film: a file called so that is none is a damaged film, never a file to pass over."""
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", Format.PICTURE),
    (b"\xff\xd8\xff", Format.PICTURE),
    (b"II*\x00", Format.PICTURE),
    (b"MM\x00*", Format.PICTURE),
    (b"II+\x00", Format.PICTURE),
    (b"MM\x00+", Format.PICTURE),
    (b"BM", Format.PICTURE),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Format.PICTURE),
    (b"\xff\x4f\xff\x51", Format.PICTURE),
    (b"\x93NUMPY", Format.NPY),
    (b"GIF8", Format.PICTURE),
    (b"NRRD000", Format.VOLUME),
    (b"ObjectType = Image", Format.VOLUME),
    (b"ObjectType=Image", Format.VOLUME),
)
_HEAD = 352
GZIP = b"\x1f\x8b"
_EXPLICIT_VR = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT OB OW PN SH SL SQ SS ST TM UI UL UN US UT".split())


def sniff(path: Path) -> Format | None:
    """The format of ``path``, None where its content is no film that is known. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Format.PICTURE
    if head[128:132] == b"DICM" or _bare_dicom(head):
        return Format.DICOM
    if head.startswith(b"PK\x03\x04"):
        return Format.NPZ if promised(path) is Format.NPZ or _holds_images(path) else None
    if nifti_version(_unpacked(path) if head.startswith(GZIP) else head):
        return Format.NIFTI
    return next((format_ for magic, format_ in _MAGIC if head.startswith(magic)), None)


def nifti_version(head: bytes) -> Literal[0, 1, 2]:
    """1 or 2 where the first 352 bytes are a NIfTI header, of one file or of a pair; else 0."""
    if head[344:348] in (b"n+1\x00", b"ni1\x00"):
        return 1
    return 2 if head[4:12] in (b"n+2\x00\r\n\x1a\n", b"ni2\x00\r\n\x1a\n") else 0


def _unpacked(path: Path) -> bytes:
    """The first bytes of what is packed in a gzip file; none where it cannot be unpacked."""
    try:
        with gzip.open(path) as file:
            return file.read(_HEAD)
    except (OSError, EOFError, zlib.error):
        return b""


def _holds_images(path: Path) -> bool:
    try:
        with ZipFile(path) as archive:
            return "images.npy" in archive.namelist()
    except BadZipFile:
        return False


def is_tiff(path: Path) -> bool:
    """Whether ``path`` is a TIFF, whose pages are films. Raises OSError."""
    with path.open("rb") as file:
        return file.read(4) in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def promised(path: Path) -> Format | None:
    """The format that the name of ``path`` promises, None where it promises none."""
    if path.name.lower().endswith(".nii.gz"):
        return Format.NIFTI
    return IMAGE_SUFFIXES.get(path.suffix.lower())


def _bare_dicom(head: bytes) -> bool:
    """A data set without the 128 bytes before it: its first element is of group 2 or 8."""
    if len(head) < 8:
        return False
    group, element, length = struct.unpack_from("<HHI", head)
    return group in (0x0002, 0x0008) and element < 0x2000 and (head[4:6] in _EXPLICIT_VR or length < 1024)
