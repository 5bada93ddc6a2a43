"""What a file is, by its first bytes and not by its name."""

from __future__ import annotations

import struct
from enum import StrEnum
from pathlib import Path
from zipfile import BadZipFile, ZipFile


class Format(StrEnum):
    """A kind of file that can hold films."""

    PICTURE = "picture"
    """PNG, JPEG, JPEG 2000, TIFF, BMP, WebP, GIF"""
    NPY = "npy"
    NPZ = "npz"
    DICOM = "dicom"
    VOLUME = "volume"
    """NIfTI, NRRD, MetaImage: refused, because how slices were cut and turned for training they do not say."""


ARRAYS = (Format.NPY, Format.NPZ)
READABLE = "PNG, JPEG, JPEG 2000, TIFF, BMP, WebP, GIF, NPY, NPZ and DICOM are read"
IMAGE_SUFFIXES = {
    **dict.fromkeys(
        (".png", ".jpg", ".jpeg", ".jp2", ".j2k", ".tif", ".tiff", ".bmp", ".webp", ".gif"), Format.PICTURE
    ),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), Format.DICOM),
    ".npy": Format.NPY,
    ".npz": Format.NPZ,
    **dict.fromkeys((".nii", ".nrrd", ".mha"), Format.VOLUME),
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
    if head[344:348] in (b"n+1\x00", b"ni1\x00") or (head[:4] == b"\x1f\x8b\x08\x00" and path.name.endswith(".nii.gz")):
        return Format.VOLUME
    return next((format_ for magic, format_ in _MAGIC if head.startswith(magic)), None)


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
    return IMAGE_SUFFIXES.get(path.suffix.lower())


def _bare_dicom(head: bytes) -> bool:
    """A data set without the 128 bytes before it: its first element is of group 2 or 8."""
    if len(head) < 8:
        return False
    group, element, length = struct.unpack_from("<HHI", head)
    return group in (0x0002, 0x0008) and element < 0x2000 and (head[4:6] in _EXPLICIT_VR or length < 1024)
