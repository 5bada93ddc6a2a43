"""The text of a PDF that Chromium printed, page by page: enough to see what stands where, and no package."""

from __future__ import annotations

import re
import zlib

Map = dict[int, str]


def pages_of(document: bytes) -> list[str]:
    """Text of each page, in the order in which it was drawn; ligatures are spelt out."""
    objects = {int(m[1]): m[2] for m in re.finditer(rb"(\d+) 0 obj(.*?)endobj", document, re.DOTALL)}
    fonts = {
        number: _characters(_stream(objects[int(found[1])]))
        for number, body in objects.items()
        if (found := re.search(rb"/ToUnicode (\d+) 0 R", body))
    }
    pages = [body for _, body in sorted(objects.items()) if re.search(rb"/Type\s*/Page\b", body)]
    return [_page(body, objects, fonts) for body in pages]


def _stream(body: bytes) -> bytes:
    found = re.search(rb"stream\r?\n(.*?)\r?\nendstream", body, re.DOTALL)
    if found is None:
        return b""
    return zlib.decompress(found[1]) if b"FlateDecode" in body else found[1]


def _characters(table: bytes) -> Map:
    """Glyph -> text, from a ToUnicode table."""
    known: Map = {}
    for block in re.findall(rb"beginbfchar(.*?)endbfchar", table, re.DOTALL):
        for glyph, text in re.findall(rb"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>", block):
            known[int(glyph, 16)] = bytes.fromhex(text.decode()).decode("utf-16-be")
    for block in re.findall(rb"beginbfrange(.*?)endbfrange", table, re.DOTALL):
        for first, last, text in re.findall(rb"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>", block):
            for glyph in range(int(first, 16), int(last, 16) + 1):
                known[glyph] = chr(int(text, 16) + glyph - int(first, 16))
    return known


def _page(body: bytes, objects: dict[int, bytes], fonts: dict[int, Map]) -> str:
    names = {m[1]: int(m[2]) for m in re.finditer(rb"/(F\d+) (\d+) 0 R", body)}
    drawn = b"".join(_stream(objects[int(number)]) for number in re.findall(rb"/Contents (\d+) 0 R", body))
    parts, font = list[str](), Map()
    for found in re.finditer(rb"/(F\d+) [\d.]+ Tf|<([0-9A-Fa-f]+)>|(ET)", drawn):
        if found[1]:
            font = fonts.get(names.get(found[1], -1), {})
        elif found[2]:
            glyphs = found[2].decode()
            parts += [font.get(int(glyphs[i : i + 4], 16), "?") for i in range(0, len(glyphs), 4)]
        else:
            parts.append(" ")
    text = "".join(parts).replace("\ufb01", "fi").replace("\ufb02", "fl").replace("\u00a0", " ")
    return " ".join(text.split())
