"""``make report-demo``: the example pages as HTML, and pictures of them for docs/.

``python tests/report/screenshots.py OUT PICTURES [--full]``: pages to OUT, pictures to PICTURES; ``--full`` takes whole
pages instead of the first screen.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import chromium
import pypdfium2
from demo_pages import write_pages
from PIL import Image

from reid_audit.report.pdf import to_pdf

SCREENS = {(390, "light"): 720, (1280, "light"): 720, (1280, "dark"): 720}
"""CSS pixels of the width, colour scheme: height of the first screen."""
SECTIONS = {
    "fail": ("gates", "bracket", "controls", "budget", "shift"),
    "evidence": ("pairs", "patients"),
    "data-protection": ("questions", "signatures"),
}
"""Parts of a page that get a picture of their own, at 1280 px."""


def main(out: Path, pictures: Path, full: bool) -> int:
    binary = chromium.find()
    if binary is None:
        sys.stderr.write(
            "no Chromium here\nclosest: none on PATH\nhelp: apt-get install chromium, or REID_AUDIT_CHROMIUM=...\n"
        )
        return 3
    for folder in (out, pictures):
        folder.mkdir(parents=True, exist_ok=True)
    pages = write_pages(out)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        chromium.Browser(binary, Path(profile)) as browser,
    ):
        for name, page in pages.items():
            for (width, scheme), height in SCREENS.items():
                browser.open(page, width, scheme)
                shot = browser.picture(width, None if full else height)
                save(shot, pictures / f"{name}-{width}-{scheme}.png")
            for section in SECTIONS.get(name, ()):
                browser.open(page, 1280)
                save(browser.part(section), pictures / f"{name}-part-{section}.png")
    printed(pages["data-protection"], pictures / "data-protection-pdf.png")
    size = sum(path.stat().st_size for path in pictures.glob("*.png"))
    sys.stdout.write(f"{len(pages)} pages in {out}, pictures in {pictures}: {size / 1e6:.2f} MB\n")
    return 0


def printed(page: Path, picture: Path) -> None:
    """The pages of the printed edition side by side, three in a row, at 64 dots an inch."""
    document = pypdfium2.PdfDocument(to_pdf(page.read_text(encoding="utf-8")))
    sheets = [sheet.render(scale=64 / 72).to_pil().convert("RGB") for sheet in document]
    width, height = sheets[0].width + 8, sheets[0].height + 8
    whole = Image.new("RGB", (3 * width, -(-len(sheets) // 3) * height), "#8794a3")
    for number, sheet in enumerate(sheets):
        whole.paste(sheet, (number % 3 * width + 4, number // 3 * height + 4))
    whole.quantize(32, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(picture, optimize=True)


def save(png: bytes, path: Path) -> None:
    """With 72 colours, rare ones kept (red and amber are few): a quarter of the size, and text stays sharp."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(72, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--full"]
    sys.exit(main(Path(words[0]), Path(words[1]), "--full" in sys.argv))
