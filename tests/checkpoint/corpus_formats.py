"""Files of other formats, each of which is named."""

from __future__ import annotations

import gzip
import json
import random

from corpus_base import BROKEN, STATE, case, saved

FORMATS = {
    "empty": (b"", "empty"),
    "one byte": (b"\x80", ""),
    "text": (b"hello, this is a readme\n", "text"),
    "utf-8 text": ("grüße\n".encode() * 100, "text"),
    "csv": (b"patient,age\n1,40\n", "text"),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
    "html late": (b"\n\n <html lang=en>", "web page"),
    "html head": (b"<head><title>sign in</title>", "web page"),
    "xml": (b"<?xml version='1.0'?>", "XML document"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "LFS"),
    "sharded": (b'{"metadata": {}, "weight_map": {"a": "model-00001.safetensors"}}', "sharded"),
    "sharded, indented": (json.dumps({"metadata": {}, "weight_map": {"a": "b"}}, indent=2).encode(), "sharded"),
    "json": (b'{\n  "architectures": ["ResNet"]\n}', ""),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(64), "GGUF"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    "npy": (b"\x93NUMPY\x01\0" + bytes(64), "numpy"),
    "tflite": (b"\x1c\0\0\0TFL3" + b"\0\0" * 8, "TensorFlow Lite"),
    "onnx from pytorch": (b"\x08\x07\x12\x07pytorch\x1a\x052.0.0" + bytes(8), "ONNX"),
    "onnx from another exporter": (b"\x08\x08\x12\x0btf2onnx" + bytes(8), "ONNX"),
    "onnx graph": (b"\x08\x0a\x12\x00\x3a\x20\x0a\x0amain_graph" + bytes(8), "ONNX"),
    "saved model": (b"\x08\x01\x12\x90\x01\n\x10tensorflow serve", "TensorFlow"),
    "frozen graph": (b"\x0a\x20\x0a\x05input\x12\x0bPlaceholder" + bytes(8), "TensorFlow"),
    "gzip": (gzip.compress(saved(STATE)), "gzip"),
    "bzip2": (b"BZh91AY" + bytes(20), "bzip2"),
    "xz": (b"\xfd7zXZ\0" + bytes(20), "xz"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(20), "7z"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(20), "zstd"),
    "tar": (bytes(257) + b"ustar" + bytes(20), "tar"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(20), "image"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(20), "image"),
    "dicom": (bytes(128) + b"DICM" + bytes(20), "DICOM"),
    "elf": (b"\x7fELF" + bytes(20), "program"),
    "windows program": (b"MZ\x90\0" + bytes(20), "program"),
    "empty zip": (b"PK\x05\x06" + bytes(18), "empty zip"),
    "zip with something before it": (b"#!/bin/sh\n" + saved(STATE), ""),
    "noise": (random.Random(0).randbytes(500), "no known format"),
    "zeros": (bytes(500), "no known format"),
    "a long line of text": (b"a" * 100_000, "text"),
}  # fmt: skip

CASES = [case("another format", name, data, BROKEN, phrase) for name, (data, phrase) in FORMATS.items()]
