"""Text that lies where a checkpoint should: pages, error messages, pointers, settings. What it is, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reid_audit.checkpoint.formats import FILMS, ORIGIN, OTHER
from reid_audit.checkpoint.shards import merge_command

AGAIN = "the download failed: fetch the file again, with the right path and permission"


@dataclass(frozen=True, slots=True)
class Readable:
    """What a text is."""

    name: str
    remedy: str
    closest: str = "recognised by its first bytes"


def _text(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


PAGE = _text(r"(<!--.*?-->\s*)*(<!doctype html|<html|<head|<body)")
ROOT = _text(r"(<\?xml.*?\?>\s*)?((<!--.*?-->|<!doctype[^>]*>)\s*)*<([\w:.-]+)")
CODE = _text(r"<Code>\s*([\w.-]{1,60})")
ROOTS = {
    "html": Readable("a web page", "download the file itself, not the page about it"),
    "net": Readable("the network description of an OpenVINO model, without its weights", ORIGIN),
    "svg": Readable("an image", FILMS),
    "pmml": Readable("a PMML model", OTHER),
}
"""Name of an XML document's outermost element -> what it is."""
POINTERS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (_text(r"version https://git-lfs"), "a Git LFS pointer", "git lfs pull"),
    (_text(r"# xet version"), "a pointer to a file in Xet storage", "git xet pull"),
    (_text(r"(#.*?\n)*\s*(outs|md5|deps|wdir):.{0,2000}md5: "), "a DVC pointer", "dvc pull"),
    (_text(r"[./\w-]*annex/objects/"), "a git-annex pointer", "git annex get"),
)
"""How it begins, what it is, what fetches the file itself."""
MESSAGE = _text(
    r"\W{0,3}(\d{3}[:\s]|(file|entry|page|repository|object|key|resource)?\s*not found|access denied|forbidden"
    r"|unauthorized"
    r"|invalid (username|credentials|token)|bad credentials|rate limit|too many requests|internal server error"
    r"|.{0,40}(does not exist|requires authentication|is restricted|gated repo))"
)
"""How a server's answer begins, where it is no page."""
ERROR = _text(r'\{\s*"(error|errors|message|detail|status)"\s*:')
BESIDE = "give model.safetensors beside it"
JSON: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (_text(r'"peft_type"'), "the settings of adapters (PEFT)", "merge the adapters and give model.safetensors"),
    (_text(r'"(architectures|model_type|_class_name)"'), "the configuration of a network", BESIDE),
    (_text(r'"(log_history|best_model_checkpoint)"'), "the log of a training run", BESIDE),
    (_text(r'"(monai_version|network_data_format)"'), "the metadata of a MONAI bundle", "give its models/model.pt"),
    (
        _text(r'"(plans_name|numTraining|channel_names|dataset_name)"'),
        "the settings of an nnU-Net model",
        "give fold_0/checkpoint_final.pth",
    ),
    (_text(r'"(nbformat|cells)"'), "a notebook", OTHER),
)
"""A name in it, what it is, what to give instead."""
SETTINGS = Readable("a JSON document: settings, not weights", OTHER)
YAML = _text(r"(---\s*\n|#[^\n]*\n|\s*\n)*[A-Za-z_][\w-]*:(\s|$)")


def recognised(head: bytes, name: str = "") -> Readable | None:
    """What a text that begins with ``head`` is; None where it is none of these, or no text.

    ``name`` is the file's; the command that merges a sharded checkpoint holds it.
    """
    text = as_text(head)
    if text is None:
        return None
    text = text.lstrip("\ufeff \t\r\n")
    if text.startswith("<"):
        return _markup(text)
    if text.startswith(("{", "[")):
        return _json(text, name)
    for pattern, kind, fetch in POINTERS:
        if pattern.match(text):
            return Readable(f"{kind}, not the file itself", f"fetch the file: {fetch}")
    if MESSAGE.match(text) and len(head) < 2000:
        return _answer(text)
    if YAML.match(text) and len(text) > 40 and text.count(":") > text.count("\n") / 3:
        return Readable("a YAML document: settings, not weights", OTHER)
    return None


def as_text(head: bytes) -> str | None:
    """``head`` as text, where it is one; its end may cut a character."""
    if b"\0" in head:
        return None
    try:
        return head.decode("utf-8")
    except UnicodeDecodeError as error:
        return head[: error.start].decode("utf-8") if error.start > len(head) - 4 else None


def _markup(text: str) -> Readable:
    if PAGE.match(text):
        if "virus scan warning" in text.lower():
            return Readable("the page with which Google Drive asks before a large download", "confirm it, or use gdown")
        return ROOTS["html"]
    root = ROOT.match(text)
    element = root[4].rpartition(":")[2] if root else ""
    if element.lower() == "error" or element == "ListBucketResult":
        code = CODE.search(text)
        return Readable(f"an object store's answer{f' ({code[1]})' if code else ''}, not the file", AGAIN)
    if element.lower() in ROOTS:
        return ROOTS[element.lower()]
    return Readable("an XML document", OTHER, f"its outermost element is {element[:40] or 'not named'}")


def _json(text: str, name: str) -> Readable:
    if '"weight_map"' in text:
        remedy = f"in its folder run {merge_command(text, name)}"
        return Readable("the index of a sharded checkpoint", remedy)
    if ERROR.match(text):
        return _answer(text)
    return next((Readable(kind, remedy) for pattern, kind, remedy in JSON if pattern.search(text)), SETTINGS)


def _answer(text: str) -> Readable:
    return Readable("a server's answer, not the file", AGAIN, f"it says {' '.join(text.split())[:80]!r}")
