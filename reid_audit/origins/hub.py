"""hf://OWNER/MODEL[@REVISION][/FILE]: a model of the Hugging Face Hub, pinned to the commit that was read.

The client is huggingface_hub with its own cache, tokens and settings (``HF_HOME``, ``HF_TOKEN``, ``HF_ENDPOINT``,
``HF_HUB_OFFLINE``). Safetensors come first, a sharded index is followed, pickles are read as any other file is.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from reid_audit.checkpoint.shards import INDEX, command
from reid_audit.errors import AuditError, CheckpointError, PolicyError
from reid_audit.origins import bundle
from reid_audit.origins.folder import weights_among
from reid_audit.origins.interface import Fetched, library, unreachable
from reid_audit.origins.merge import merge, parts_of

FORM = "hf://OWNER/MODEL, hf://OWNER/MODEL@REVISION or hf://OWNER/MODEL@REVISION/FILE"
_ADDRESS = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>refs/(?:pr|convert)/[\w.-]+|[\w.%-]+))?(?:/(?P<file>[^@]+))?"
)
BESIDE = ("config.json", bundle.METADATA, *bundle.CONFIGS)
"""Small files that say what the network is; taken along where the model has them."""


@dataclass(frozen=True, slots=True)
class Repository:
    """One model at one commit."""

    name: str
    commit: str
    files: tuple[str, ...]
    download: Callable[[str], Path]
    """A file by its name in the repository -> where it is on this machine."""

    @property
    def uri(self) -> str:
        """The address that means this commit for ever."""
        return f"hf://{self.name}@{self.commit}"


def fetch(uri: str, folder: Path) -> Fetched:
    """The weights of a model on the Hub. Raises PolicyError for a wrong address, CheckpointError where it fails."""
    found = _ADDRESS.fullmatch(uri)
    if found is None or ".." in uri:
        raise PolicyError(f"{uri} is no address of a model", closest=FORM, remedy="write it in one of these forms")
    hub = library("huggingface_hub", "hub", "hf:")
    with _refusing(uri), _silent():
        model = _repository(hub, found["repo"], (found["revision"] or "main").replace("%2F", "/"))
        for name in BESIDE:
            if name in model.files:
                model.download(name)
        return _weights(model, found["file"], folder)


def _weights(model: Repository, wanted: str | None, folder: Path) -> Fetched:
    """The file that is named, or the one that holds the network."""
    index, pickled = INDEX[False], INDEX[True]
    if wanted == index or (wanted is None and "model.safetensors" not in model.files and index in model.files):
        listed = parts_of(model.download(index).read_bytes())
        parts = {name: model.download(name) for name in sorted(set(listed.values()))}
        if "config.json" in model.files:
            shutil.copyfile(model.download("config.json"), folder / "config.json")
        return Fetched(merge(parts, listed, folder / "model.safetensors"), model.uri)
    if wanted is None and pickled in model.files and not any(n.endswith(".safetensors") for n in model.files):
        raise CheckpointError(
            f"{model.uri} is a sharded checkpoint of pickles",
            closest=pickled,
            remedy=f"download it, and in its folder run {command(pickled=True)}",
        )
    name = wanted or weights_among(model.files, model.uri)
    file = model.download(name)
    root = file.parents[name.count("/")]
    declared = bundle.declared(bundle.reading(root)) if bundle.METADATA in model.files else None
    return Fetched(file, model.uri if wanted is None else f"{model.uri}/{wanted}", declared)


def _repository(hub: Any, name: str, revision: str) -> Repository:
    if import_module("huggingface_hub.constants").HF_HUB_OFFLINE:  # what is in the cache is what there is
        snapshot = Path(hub.snapshot_download(name, revision=revision, local_files_only=True))
        files = tuple(sorted(p.relative_to(snapshot).as_posix() for p in snapshot.rglob("*") if p.is_file()))
        return Repository(name, snapshot.name, files, lambda file: snapshot / file)
    info = hub.HfApi().model_info(name, revision=revision)
    files = tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))

    def download(file: str) -> Path:
        found = Path(hub.hf_hub_download(name, file, revision=revision))  # by its name, so that the cache knows it
        if info.sha not in found.parts:
            raise CheckpointError(
                f"{revision} of {name} moved while it was read", closest=f"commit {info.sha}", remedy="run it again"
            )
        return found

    return Repository(name, info.sha, files, download)


@contextmanager
def _refusing(uri: str) -> Iterator[None]:
    """Say in three lines what the Hub or the way to it answered."""
    errors: Any = import_module("huggingface_hub.errors")
    remedies: tuple[tuple[type[Exception], str], ...] = (
        (errors.GatedRepoError, "accept its terms on its page, and give your token in HF_TOKEN or by 'hf auth login'"),
        (errors.RepositoryNotFoundError, "check the name; a private model needs your token in HF_TOKEN"),
        (errors.RevisionNotFoundError, "name a branch, a tag or a commit of this model"),
        (
            errors.LocalEntryNotFoundError,
            "where HF_HUB_OFFLINE is set it has to be in the cache (HF_HOME); else check the network and HF_ENDPOINT",
        ),
        (errors.EntryNotFoundError, "name a file that this revision has"),
        (Exception, "check the network and HF_ENDPOINT, or download the file elsewhere and give its path"),
    )
    try:
        yield
    except AuditError:
        raise
    except Exception as error:  # the client's own and those of its HTTP library, which share no base
        raise unreachable(uri, error, next(said for kind, said in remedies if isinstance(error, kind))) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Without the client's own progress bars, which would write between ours."""
    utils: Any = import_module("huggingface_hub.utils")
    silent = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        if not silent:
            utils.enable_progress_bars()
