"""Pickles that would run something, hide it, or exhaust the reader."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile

from corpus_base import BROKEN, STATE, UNSAFE, Case, case, legacy, saved, zipped

DANGEROUS = [
    "os.system", "posix.system", "nt.system", "subprocess.Popen", "subprocess.run", "builtins.eval", "builtins.exec",
    "builtins.__import__", "builtins.getattr", "builtins.open", "builtins.compile", "importlib.import_module",
    "pickle.loads", "_pickle.loads", "torch.load", "torch.hub.load", "torch.jit.load", "torch.storage._load_from_bytes",
    "shutil.rmtree", "webbrowser.open", "runpy.run_path", "numpy.load", "numpy.testing._private.utils.runstring",
    "operator.attrgetter", "functools.partial", "types.FunctionType", "types.CodeType", "socket.create_connection",
    "collections.OrderedDict.fromkeys", "pytorch_lightning.system", "torch.optim.system", "omegaconf.os.system",
    "unlisted.package.Class", "my_project.models.Net", "torchvision.models.resnet.ResNet",
    "torch.nn.modules.conv.Conv2d",
    "__main__.Net", "__builtin__.eval", "copyreg.__newobj__", "copyreg.add_extension",
    "pkgutil.resolve_name", "pydoc.locate", "ctypes.CDLL", "asyncio.run", "timeit.timeit", "cProfile.run",
    "code.interact", "pip.main", "ensurepip._run_pip", "site.main", "bdb.Bdb", "idlelib.run.Executive",
    "torch._inductor.codecache.compile_file", "torch.serialization.load", "torch.utils.collect_env.run", "joblib.load",
    "dill.loads", "cloudpickle.loads", "sklearn.ensemble.RandomForestClassifier", "keras.models.load_model",
]  # fmt: skip


CODE_ONLY = frozenset(
    {
        "unlisted.package.Class", "my_project.models.Net", "torchvision.models.resnet.ResNet",
        "torch.nn.modules.conv.Conv2d", "__main__.Net", "sklearn.ensemble.RandomForestClassifier",
    }
)  # fmt: skip
"""Names that run nothing known: read as empty placeholders where the policy says so."""


def added(data: bytes, name: str, content: bytes) -> bytes:
    """A torch zip with one more entry."""
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def by_global(name: str) -> bytes:
    """GLOBAL and REDUCE."""
    module, _, leaf = name.rpartition(".")
    return b"\x80\x02c" + f"{module}\n{leaf}\n".encode() + b"X\x08\x00\x00\x00ran-code\x85R."


def by_stack(name: str) -> bytes:
    """STACK_GLOBAL and REDUCE."""
    module, _, leaf = name.rpartition(".")
    texts = b"".join(b"\x8c" + bytes([len(t)]) + t.encode() + b"\x94" for t in (module, leaf))
    return b"\x80\x04" + texts + b"\x93\x8c\x08ran-code\x85R."


def by_inst(name: str) -> bytes:
    """INST."""
    module, _, leaf = name.rpartition(".")
    return b"(S'ran-code'\ni" + f"{module}\n{leaf}\n".encode() + b"."


def by_obj(name: str) -> bytes:
    """OBJ."""
    module, _, leaf = name.rpartition(".")
    return b"\x80\x02(c" + f"{module}\n{leaf}\n".encode() + b"X\x08\x00\x00\x00ran-codeo."


HOW = {"reduce": by_global, "stack": by_stack, "inst": by_inst, "obj": by_obj}
SYSTEM = b"cposix\nsystem\n"
ARGUMENT = b"X\x04\x00\x00\x00true\x85"

HIDDEN = {
    "behind the memo": (
        b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94h\x00h\x01\x93"
        b"\x8c\x04true\x85R."
    ),
    "computed": b"\x80\x04\x8c\x05posix\x8c\x06system\x86]\x94(0\x8c\x05posix\x8c\x06systemN0\x93)R.",
    "extension code": b"\x80\x02\x82\x01)R.",
    "two-byte extension code": b"\x80\x02\x83\x01\x00)R.",
    "late in the pickle": b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01u0" + SYSTEM + ARGUMENT + b"R.",
    "never called": b"\x80\x02" + SYSTEM + b"0}.",
    "overwritten in the memo": b"\x80\x02" + SYSTEM + b"q\x00N0q\x00}.",
    "new object": b"\x80\x02" + SYSTEM + ARGUMENT + b"\x81.",
    "new object with names": b"\x80\x04" + SYSTEM + b")}\x92.",
    "state of an object": b"\x80\x02ccollections\nOrderedDict\n)R" + SYSTEM + b"b.",
    "as a dictionary key": b"\x80\x02}" + SYSTEM + b"K\x01s.",
    "as a default factory": b"\x80\x02ccollections\ndefaultdict\n" + SYSTEM + b"\x85R.",
    "as a storage class": b"\x80\x02X\x07\x00\x00\x00storage" + SYSTEM + b"X\x01\x00\x00\x000\x86Q.",
    "by a text protocol": b"cos\nsystem\n(S'true'\ntR.",
    "by a dotted name": b"\x80\x04\x8c\x0bcollections\x8c\x1bOrderedDict.__init__.__self\x93.",
    "behind a frame that lies": b"\x80\x04\x95\x02\x00\x00\x00\x00\x00\x00\x00N0" + SYSTEM + b".",
    "in a list class's items": b"\x80\x02comegaconf.listconfig\nListConfig\n)\x81" + SYSTEM + b"a.",
    "name of a listed module": b"\x80\x02comegaconf.dictconfig\nos\n.",
    "a listed package's function": b"\x80\x02cmonai.utils\nsystem\n.",
    "a package that only starts like a listed one": b"\x80\x02clightning_evil\nNet\n.",
    "empty module": b"\x80\x02c\nsystem\n.",
    "name not in ASCII": "\x80".encode("latin-1") + "\x02cos\nsystém\n.".encode(),
    "with a space": b"\x80\x02cos system\nx\n.",
    "with control characters": b"\x80\x02cos\x1b[31m\nsy\x07stem\n.",
    "after the end": b"\x80\x02}." + b"\x80\x02" + SYSTEM + ARGUMENT + b"R.",
    "before the damage": b"\x80\x02" + SYSTEM + ARGUMENT + b"R\xff",
    "before a cut": b"\x80\x02" + SYSTEM + ARGUMENT + b"R",
    "many names": b"\x80\x02" + b"".join(b"cevil%d\nrun\n0" % i for i in range(500)) + b"}.",
}
CHANGES = {
    "build on a class": b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",
    "build on a tensor function": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x08\x00\x00\x00__code__Ns\x86b.",
    "change a placeholder": b"\x80\x02cargparse\nNamespace\nN}X\x01\x00\x00\x00aK\x01s\x86b.",
    "call a placeholder's result": b"\x80\x02cargparse\nNamespace\n)R)R.",
    "change a class of a project": b"\x80\x02cmy_project\nNet\n}X\x01\x00\x00\x00aK\x01sb.",
    "change a function of numpy's": b"\x80\x02cnumpy.core.multiarray\nscalar\n}X\x01\x00\x00\x00aK\x01sb.",
    "call a function of a project": b"\x80\x02cmy_project.tools\nrun\n" + ARGUMENT + b"R.",
    "call a function of a listed package": b"\x80\x02cmonai.utils\ndownload\n" + ARGUMENT + b"R.",
    "call an unlisted method": b"\x80\x04\x8c\x0amy_project\x8c\x08Net.load\x93" + ARGUMENT + b"R.",
    "make an object of what partial bound": b"\x80\x02cfunctools\npartial\ncmy_project\nNet\n\x85R" + ARGUMENT + b"R.",
    "call a bound method": (
        b"\x80\x02c__builtin__\ngetattr\ncmy_project\nNet\nX\x04\x00\x00\x00load\x86R" + ARGUMENT + b"R."
    ),
    "reach globals through a method": (
        b"\x80\x02c__builtin__\ngetattr\ncmy_project\nNet\nX\x0b\x00\x00\x00__globals__\x86R."
    ),
    "take an attribute of a list": b"\x80\x02c__builtin__\ngetattr\n]X\x06\x00\x00\x00append\x86R.",
    "take an attribute by three names": (b"\x80\x02c__builtin__\ngetattr\ncmy_project\nNet\nX\x01\x00\x00\x00aN\x87R."),
    "an item of a list": b"\x80\x02c_operator\ngetitem\n]K\x00\x86R.",
    "an item of a project's table": b"\x80\x02c_operator\ngetitem\ncmy_project\nTable\nK\x00\x86R.",
    "call a type of elements": b"\x80\x02c_operator\ngetitem\n(ctyping\nList\nK\x00tR0ctyping\nget_type_hints\n)R.",
    "join a name": b"\x80\x02c__builtin__\ngetattr\ncbuiltins\nstr\nX\x04\x00\x00\x00join\x86RX\x00\x00\x00\x00]\x86R.",
    "bind arguments to a text": b"\x80\x02cfunctools\npartial\nX\x01\x00\x00\x00a\x85R.",
    "a module that another one imported": b"\x80\x02cmy_project.tools\nos\n0}.",
    "builtins of another module": b"\x80\x02cmy_project\n__builtins__\n0}.",
    "a module of numpy's": b"\x80\x02cnumpy.f2py.crackfortran\nmyeval\n0}.",
    "data loading of torch's that unpickles": b"\x80\x02ctorch.utils.data.datapipes.utils.decoder\nbasichandlers\n0}.",
    "process started by a class": b"\x80\x02cimaplib\nIMAP4_stream\n" + ARGUMENT + b"R.",
    "a library that starts processes": b"\x80\x02cpexpect.pty_spawn\nspawn\n0}.",
}
"""What would change, reach or call something, also where it only names what is no code by itself."""


class Runs:
    """Makes a folder when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("ran-code",))


PICKLED = by_global("os.system")
NESTED = {
    "bytes": saved({"state_dict": STATE, "blob": PICKLED}),
    "bytes of protocol 4": saved({"state_dict": STATE, "blob": by_stack("os.system")}),
    "bytes of protocol 0": saved({"state_dict": STATE, "blob": b"cos\nsystem\n(S'true'\ntR."}),
    "bytes inside bytes": saved({"state_dict": STATE, "blob": pickle.dumps([pickle.dumps(PICKLED)])}),
    "a long one": saved({"state_dict": STATE, "blob": b"\x80\x02]" + b"N0" * 5000 + PICKLED[2:]}),
    "two in a row": saved({"state_dict": STATE, "blob": pickle.dumps(1) + PICKLED}),
    "a damaged one": saved({"state_dict": STATE, "blob": b"\x80\x02\xff\xff" + PICKLED}),
    "in a text": saved({"state_dict": STATE, "blob": "cposix\nsystem\n(S'true'\ntR."}),
    "in a legacy file": saved({"state_dict": STATE, "blob": PICKLED}, legacy=True),
    "beside a pickle that is read": added(saved({"state_dict": STATE}), "archive/extra/a.pkl", PICKLED),
    "beside it under another name": added(saved({"state_dict": STATE}), "archive/version.txt", PICKLED),
    "beside the pickle": zipped(pickle.dumps({}, 2), {"archive/extra.pkl": PICKLED}),
    "behind the storages": saved(STATE, legacy=True) + PICKLED,
    "behind a plain one": pickle.dumps({"a": 1}) + PICKLED,
    "behind two plain ones": pickle.dumps({"a": 1}) + pickle.dumps([]) + PICKLED,
    "behind a plain one that is damaged": b"\x80\x02\xff" + PICKLED,
    "in a zip in a zip": zipped(b"\x80\x02}.", {"inner.zip": zipped(PICKLED)}),
    "in a zip without an index": zipped(PICKLED)[:120],
    "in a legacy file that is cut": saved({"state_dict": STATE, "x": Runs()}, legacy=True)[:-30],
}
DAMAGED = {
    "nothing": b"",
    "no stop": b"\x80\x02}",
    "stack underflow": b"\x80\x02R.",
    "memo bomb": b"\x80\x02]r\xff\xff\xff\x7f.",
    "memo bomb as text": b"(lp99999999999\n.",
    "negative memo": b"(lp-1\n.",
    "memo that was never filled": b"\x80\x02h\x07.",
    "unknown opcode": b"\x80\x02\xff.",
    "huge string": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "huge bytes": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "huge byte array": b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "huge long": b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
    "negative long": b"\x80\x02\x8b\xff\xff\xff\xff.",
    "negative string": b"\x80\x02T\xff\xff\xff\xffabc.",
    "a buffer from elsewhere": b"\x80\x05\x97.",
    "protocol 9": b"\x80\x09}.",
    "unknown persistent id": b"\x80\x02X\x03\x00\x00\x00abcQ.",
    "persistent id as text": b"Pabc\n.",
    "storage that is a view": (
        b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02"
        b"X\x01\x00\x00\x001K\x00K\x01\x87tQ."
    ),
    "call a number": b"\x80\x02K\x01)R.",
    "pop too much": b"\x80\x0200.",
    "unhashable key": b"\x80\x02}]K\x01s.",
    "a number": b"\x80\x02K\x01.",
    "none": b"\x80\x02N.",
    "a list": b"\x80\x02].",
    "an empty dict": b"\x80\x02}.",
    "a text": b"\x80\x02X\x01\x00\x00\x00a.",
    "itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    "bytes after the end": b"\x80\x02}.garbage",
    "a number of 100,000 digits": b"I" + b"9" * 100_000 + b"\n.",
    "50,000 lists in lists": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
    "more opcodes than a model needs": b"\x80\x02" + b"N0" * 2_000_001 + b"}.",
    "an endless name": b"\x80\x02c" + b"a" * 1_000_000 + b".",
}


PLACES: dict[str, object] = {
    "at the top": Runs(),
    "beside the weights": {"state_dict": STATE, "args": Runs()},
    "among the weights": {**STATE, "w": Runs()},
    "as a key": {"state_dict": STATE, Runs(): 1},
}


def tensor_programme(shape: bytes, stride: bytes, offset: bytes = b"K\x00", key: bytes = b"0") -> bytes:
    """A dict with one tensor over a storage of two floats."""
    return (
        b"\x80\x02}(X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X" + struct.pack("<I", len(key)) + key + b"X\x03\x00\x00\x00cpuK\x02tQ" + offset + shape + stride
        + b"\x89}tRX\x01\x00\x00\x00acargparse\nNamespace\n)\x81u."
    )  # fmt: skip


EXTENT = b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x20"
ONE, STEP = b"K\x02\x85", b"K\x01\x85"
LYING = {
    "outside by shape": (b"K\x03\x85", STEP, b"K\x00"),
    "outside by stride": (ONE, b"K\x09\x85", b"K\x00"),
    "outside by offset": (ONE, STEP, b"K\x01"),
    "negative offset": (ONE, STEP, b"J\xff\xff\xff\xff"),
    "offset of text": (ONE, STEP, b"X\x01\x00\x00\x00a"),
    "negative shape": (b"J\xff\xff\xff\xff\x85", STEP, b"K\x00"),
    "negative stride": (ONE, b"J\xff\xff\xff\xff\x85", b"K\x00"),
    "ranks differ": (ONE, b"K\x01K\x01\x86", b"K\x00"),
    "shape of text": (b"X\x01\x00\x00\x00a\x85", STEP, b"K\x00"),
    "shape is a number": (b"K\x02", STEP, b"K\x00"),
    "boolean shape": (b"\x88\x85", STEP, b"K\x00"),
    "expanded to terabytes": (b"J\xff\xff\xff\x7f\x85", b"K\x00\x85", b"K\x00"),
    "outside by 2^62": (b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x3f\x85", STEP, b"K\x00"),
    "offset 2^63": (ONE, STEP, b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00"),
    "shape is itself a tensor": (b"]\x85", STEP, b"K\x00"),
    "65 axes": (b"(" + b"K\x01" * 65 + b"t", b"(" + b"K\x01" * 65 + b"t", b"K\x00"),
    "empty, but 2^122 otherwise": (b"(" + EXTENT * 2 + b"K\x00t", b"K\x01K\x01K\x01\x87", b"K\x00"),
}
FLOATS = {"archive/data/0": struct.pack("<2f", 1, 2)}
CODE = b"\x80\x02" + SYSTEM + ARGUMENT + b"R."
NOTHING = b"\x80\x02}."
BIG_ENDIAN = b"\x80\x02}X\x0d\x00\x00\x00little_endian\x89s."
LEGACY = {
    "code in the storage keys": (legacy(NOTHING, keys=CODE), UNSAFE, "system"),
    "code in the system record": (legacy(NOTHING, system=CODE), UNSAFE, "system"),
    "keys that are no list": (legacy(NOTHING, keys=NOTHING), BROKEN, "not a list"),
    "a key without a storage": (legacy(NOTHING, keys=b"\x80\x02]K\x01a."), BROKEN, "missing"),
    "another byte order": (legacy(NOTHING, system=BIG_ENDIAN), BROKEN, "byte order"),
}


def _cases() -> list[Case]:
    found = [
        case(how, f"{how} {name}", zipped(build(name)), UNSAFE, name.rpartition(".")[2])
        for name in DANGEROUS
        for how, build in HOW.items()
    ]
    found += [case("plain pickle", f"plain {n}", by_global(n), UNSAFE, n) for n in DANGEROUS[:8]]
    found += [case("hidden global", f"zip {n}", zipped(p), UNSAFE) for n, p in HIDDEN.items()]
    inside = {n: p for n, p in HIDDEN.items() if n != "after the end"}
    found += [case("hidden global", f"legacy {n}", legacy(p), UNSAFE) for n, p in inside.items()]
    found += [case("legacy parts", n, *rest) for n, rest in LEGACY.items()]
    found += [case("changes", n, zipped(p), UNSAFE) for n, p in CHANGES.items()]
    found += [case("nested pickle", n, data, UNSAFE) for n, data in NESTED.items()]
    for old in (False, True):
        found += [
            case("real object", f"{n}, {'legacy' if old else 'zip'}", saved(d, legacy=old), UNSAFE, "mkdir")
            for n, d in PLACES.items()
        ]
    found += [case("damaged pickle", f"zip {n}", zipped(p), BROKEN) for n, p in DAMAGED.items()]
    found += [
        case("damaged pickle", f"legacy {n}", legacy(p), BROKEN)
        for n, p in DAMAGED.items()
        if len(p) < 10_000 and n != "bytes after the end"
    ]
    found += [case("lying tensor", n, zipped(tensor_programme(*p), FLOATS), BROKEN) for n, p in LYING.items()]
    found += [
        case("lying tensor", "missing storage", zipped(tensor_programme(ONE, STEP)), BROKEN),
        case("lying tensor", "broken length", zipped(tensor_programme(ONE, STEP), {"archive/data/0": b"abc"}), BROKEN),
        case("lying tensor", "storage outside", zipped(tensor_programme(ONE, STEP, key=b"../version")), BROKEN),
        case("plain pickle", "a dictionary", pickle.dumps({"a": 1}), BROKEN, "plain pickle"),
        case("plain pickle", "a list, protocol 0", pickle.dumps([1], 0), BROKEN, "pickle"),
    ]
    return found


CASES = _cases()
