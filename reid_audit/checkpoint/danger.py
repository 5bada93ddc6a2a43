"""Names that run, load or reach something: no file that mentions one is read, whatever the policy says.

A list of known attacks is never complete, so this is a list of where code lives: the whole standard library, whole
packages that start processes or load files, everything of torch and numpy that describes no network or array. Single
harmless names of these are listed as data in ``globals``.
"""

from __future__ import annotations

import re
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # what pickle itself turns old names into

OLD_MODULES = frozenset(
    {
        "ConfigParser", "Queue", "StringIO", "SocketServer", "__builtin__", "cPickle", "cStringIO", "commands",
        "copy_reg", "dircache", "exceptions", "httplib", "os2", "popen2", "thread", "urllib2", "urlparse",
        "_osx_support", "_pyrepl", "aifc", "asynchat", "asyncore", "cgi", "cgitb", "chunk", "crypt", "distutils",
        "imghdr", "imp", "lib2to3", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev", "pipes", "smtpd", "sndhdr",
        "spwd", "sunau", "telnetlib", "test", "uu", "xdrlib",
    }
)  # fmt: skip
"""The standard library of other Python releases, as far as this one does not list it."""
RENAMED = frozenset(name.partition(".")[0] for name in (*IMPORT_MAPPING, *(module for module, _ in NAME_MAPPING)))
STANDARD = frozenset(sys.stdlib_module_names) | OLD_MODULES | RENAMED

RUNNERS = frozenset(
    {
        "IPython", "_pytest", "aiohttp", "apport", "billiard", "celery", "cffi", "cloudpickle", "dask", "dill",
        "distributed", "fabric", "fire", "fsspec", "git", "httpx", "invoke", "ipykernel", "jinja2", "joblib",
        "jsonpickle", "jupyter_client", "jupyter_core", "loky", "mlflow", "multiprocess", "nose", "notebook", "numba",
        "numexpr", "paramiko", "pathos", "pexpect", "pip", "pkg_resources", "plumbum", "psutil", "ptyprocess", "py",
        "pytest", "ray", "requests", "setuptools", "sh", "smart_open", "tornado", "urllib3", "virtualenv", "websocket",
        "websockets", "wheel", "xmlrpc", "yaml", "zmq",
    }
)  # fmt: skip
"""Packages that start processes, open connections, or load further code or pickles."""

MIXED = {
    "torch": (
        "torch.nn", "torch.optim", "torch.utils.data", "torch.amp", "torch.cuda.amp", "torch.ao", "torch.quantization",
        "torch.distributions", "torch.distributed.checkpoint.metadata",
        "torch.distributed.checkpoint.filesystem", "torch._C._nn", "torch._C._VariableFunctions",
        "torch._C._VariableFunctionsClass",
    ),
    "numpy": (),
}  # fmt: skip
"""Packages that can run code, and the parts of them that hold layers, optimisers and the like."""
MIXED_EXCEPT = ("torch.utils.data.datapipes",)

REACHING = frozenset(
    {
        "builtins", "compile", "ctypes", "eval", "exec", "importlib", "nt", "os", "popen", "posix", "pty", "runpy",
        "shutil", "socket", "subprocess", "sys", "system", "webbrowser",
    }
)  # fmt: skip
"""As any part of a dotted name: packages keep the modules they import as attributes."""

_TOPS = "|".join(sorted(STANDARD | RUNNERS | set(MIXED), key=lambda name: (-len(name), name))).encode()
_PATH = rb"(?:\.[A-Za-z_]\w{0,80}){0,10}"
GLOBAL = re.compile(rb"[ci]((?:" + _TOPS + rb")" + _PATH + rb")\n([A-Za-z_]\w{0,80}" + _PATH + rb")\n")
"""Module and name as protocols 0 to 3 write them, of packages that can run code; anywhere in a file."""
_PUT = rb"(?:\x94|q.|r....){0,2}"
STACKED = re.compile(
    rb"\x8c[\x02-\x7f]((?:" + _TOPS + rb")" + _PATH + rb")" + _PUT
    + rb"\x8c[\x01-\x7f]([A-Za-z_]\w{0,80}" + _PATH + rb")" + _PUT + rb"\x93",
    re.DOTALL,
)  # fmt: skip
"""The same as protocols from 4 on write them."""
PICKLE = re.compile(rb"\x80[\x00-\x05]|\xc2\x80[\x00-\x05]")
"""How a binary pickle begins, also as a text of Latin-1 characters in UTF-8."""


def reaches_code(name: str) -> bool:
    """Whether a dotted ``name`` (Python 3's spelling) lies where code lives, or is no plain name at all."""
    parts = name.split(".")
    if len(parts) < 2 or not all(part.isidentifier() and part.isascii() for part in parts):
        return True
    if any(_special(part) for part in parts[1:]) or (_special(parts[0]) and parts[0] != "__main__"):
        return True
    if not REACHING.isdisjoint(parts) or parts[0] in STANDARD or parts[0] in RUNNERS:
        return True
    allowed = MIXED.get(parts[0])
    return allowed is not None and (not _within(name, allowed) or _within(name, MIXED_EXCEPT))


def _special(part: str) -> bool:
    return part.startswith("__") and part.endswith("__")


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)
