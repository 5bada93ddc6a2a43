"""Every hostile case."""

from __future__ import annotations

import corpus_contents
import corpus_formats
import corpus_pickles
import corpus_safetensors
import corpus_zips

CASES = [
    *corpus_pickles.CASES,
    *corpus_zips.CASES,
    *corpus_safetensors.CASES,
    *corpus_contents.CASES,
    *corpus_formats.CASES,
]
