"""Which names a pickle may mention: the published list (docs/checkpoints.md shows it)."""

from __future__ import annotations

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from enum import StrEnum
from typing import Literal

from reid_audit.checkpoint.danger import reaches_code

PickledCode = Literal["refuse", "warn"]
"""The policy's key: what becomes of names that are neither listed here nor known to run something."""


class Kind(StrEnum):
    """What a name in a pickle means to us."""

    SAFE = "safe"
    """Describes tensors."""
    FOREIGN = "foreign"
    """Listed data and configuration: an empty placeholder."""
    CODE = "code"
    """Any other class or function, of a layer, a network, a project: an empty placeholder, or a refusal."""
    BINDING = "binding"
    """Binds a listed or other class to a name or to arguments: as CODE, but only in that one way."""
    UNSAFE = "unsafe"
    """Runs, loads or reaches something: a refusal whatever the policy says."""


STORAGES: dict[str, str] = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
    "QInt8Storage": "int8", "QUInt8Storage": "uint8", "QInt32Storage": "int32",
}  # fmt: skip
"""torch storage class -> dtype."""

DTYPES: frozenset[str] = frozenset(
    {
        "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32",
        "uint64", "bool", "complex32", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2",
        "float8_e4m3fnuz", "float8_e5m2fnuz", "qint8", "quint8", "qint32", "quint4x2", "quint2x4",
    }
)  # fmt: skip

REBUILD: frozenset[str] = frozenset(
    {
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch._utils._rebuild_xla_tensor",
        "torch._utils._rebuild_device_tensor_from_numpy",
        "torch._utils._rebuild_device_tensor_from_cpu_tensor",
        "torch._tensor._rebuild_from_type",
        "torch._tensor._rebuild_from_type_v2",
        "fastai.torch_core._fa_rebuild_tensor",
        "fastai.torch_core._rebuild_from_type",
    }
)
"""Functions that describe a dense tensor; the inert reader has its own versions."""

UNSUPPORTED: dict[str, str] = {
    "torch._utils._rebuild_qtensor": "quantised",
    "torch._utils._rebuild_sparse_tensor": "sparse",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse",
    "torch._utils._rebuild_meta_tensor_no_storage": "meta (no values)",
    "torch._utils._rebuild_nested_tensor": "nested",
    "torch._utils._rebuild_wrapper_subclass": "of a foreign tensor class",
}
"""Tensors that exist but are not read."""

NUMPY: frozenset[str] = frozenset(
    {
        "numpy.dtype", "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
        "numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer",
    }
)  # fmt: skip
"""Functions that describe an array or a number of numpy; the inert reader has its own versions."""

SAFE: frozenset[str] = frozenset(
    {
        "collections.OrderedDict", "torch.Size", "torch.device", "torch.serialization._get_layout",
        "torch.per_tensor_affine", "torch.per_channel_affine", "torch.strided", "torch.sparse_coo",
        "torch.channels_last", "torch.channels_last_3d", "torch.contiguous_format", "torch.preserve_format",
        *NUMPY, "numpy.ndarray", "_codecs.encode", "builtins.bytes", "builtins.bytearray",
    }
)  # fmt: skip

NUMPY_TYPES = (
    "bool", "bool_", "bytes_", "complex128", "complex64", "float16", "float32", "float64", "int16", "int32", "int64",
    "int8", "str_", "uint16", "uint32", "uint64", "uint8",
)  # fmt: skip

FOREIGN_NAMES: frozenset[str] = frozenset(
    {
        "argparse.Namespace",
        "builtins.complex", "builtins.dict", "builtins.frozenset", "builtins.list",
        "builtins.object", "builtins.range", "builtins.set", "builtins.slice", "builtins.tuple",
        "builtins.int", "builtins.float", "builtins.str", "builtins.bool", "builtins.type",
        "builtins.Ellipsis", "builtins.abs", "builtins.len", "builtins.max", "builtins.min", "builtins.round",
        "builtins.sum", "types.GenericAlias",
        "collections.Counter", "collections.defaultdict", "collections.deque",
        "copyreg._reconstructor",
        "datetime.date", "datetime.datetime", "datetime.timedelta", "datetime.timezone",
        "decimal.Decimal", "fractions.Fraction", "types.SimpleNamespace", "uuid.UUID",
        "pathlib.Path", "pathlib.PosixPath", "pathlib.PurePath", "pathlib.PurePosixPath",
        "pathlib.PureWindowsPath", "pathlib.WindowsPath",
        "pathlib._local.Path", "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
        *(f"numpy.{name}" for name in NUMPY_TYPES),
        "numpy.random._pickle.__randomstate_ctor", "numpy.random._pickle.__generator_ctor",
        "numpy.random._pickle.__bit_generator_ctor", "numpy.random._mt19937.MT19937", "numpy.random._pcg64.PCG64",
        "numpy.random._pcg64.PCG64DXSM", "numpy.random._philox.Philox", "numpy.random._sfc64.SFC64",
        "numpy.random.bit_generator.SeedSequence", "numpy.random.bit_generator.__pyx_unpickle_SeedSequence",
        "joblib.numpy_pickle.NumpyArrayWrapper",
        "torch.torch_version.TorchVersion", "torch.Generator", "torch._C.Generator",
        "yacs.config.CfgNode", "box.box.Box", "addict.addict.Dict", "easydict.EasyDict",
        "ml_collections.config_dict.config_dict.ConfigDict", "enum.Enum",
    }
)  # fmt: skip
"""Classes read as empty placeholders, by full name."""

FOREIGN_PACKAGES: tuple[str, ...] = (
    "pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities", "torchmetrics", "omegaconf",
    "nnunet", "nnunetv2", "batchgenerators", "batchgeneratorsv2", "dynamic_network_architectures", "monai", "mmengine",
    "mmcv", "fvcore", "detectron2", "torch.optim", "transformers.configuration_utils", "transformers.training_args",
    "transformers.trainer_utils", "torchvision.transforms", "timm.data", "timm.scheduler", "numpy.dtypes",
)  # fmt: skip
"""Packages whose classes (names that start with a capital) are read as empty placeholders."""


BINDINGS: frozenset[str] = frozenset({"builtins.getattr", "functools.partial", "_operator.getitem", "operator.getitem"})
"""How pickle writes a method, a nested class, a class with some arguments or a type of elements: over a class's
placeholder only."""

CONSTRUCTORS: frozenset[str] = frozenset(
    {
        "re._compile", "logging.Logger", "logging.getLogger", "random.Random", "itertools.count", "time.struct_time",
        "array._array_reconstructor", "inspect._empty", "inspect.Parameter", "inspect.Signature",
        "zoneinfo.ZoneInfo", "zoneinfo.ZoneInfo._unpickle",
        "pandas._libs.internals._unpickle_block", "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked",
        "pandas.core.indexes.base._new_Index", "pandas.core.indexes.datetimes._new_DatetimeIndex",
        "torch.nn.backends.thnn._get_thnn_function_backend",
    }
)  # fmt: skip
"""Functions and classes of the standard library and of pandas that only make an object of their arguments."""


def modern(name: str) -> str:
    """A dotted name in the spelling of Python 3, as pickle itself reads those of its protocols up to 2 (torch's)."""
    module, dot, leaf = name.rpartition(".")
    if (module, leaf) in NAME_MAPPING:
        return ".".join(NAME_MAPPING[module, leaf])
    return IMPORT_MAPPING.get(module, module) + dot + leaf


def classify(name: str) -> Kind:
    """Kind of a global by its dotted name."""
    name = modern(name)
    if name in SAFE or name in REBUILD or name in UNSUPPORTED:
        return Kind.SAFE
    module, _, leaf = name.rpartition(".")
    if module in ("torch", "torch.storage") and (leaf in STORAGES or leaf == "TypedStorage"):
        return Kind.SAFE
    if module == "torch" and leaf in DTYPES:
        return Kind.SAFE
    if name in ("torch.nn.parameter.Parameter", "torch.Tensor", "torch.nn.Parameter", "torch.nn.parameter.Buffer"):
        return Kind.SAFE
    if name in FOREIGN_NAMES or (module in ("typing", "collections.abc") and leaf.isidentifier() and is_class(leaf)):
        return Kind.FOREIGN
    if name in BINDINGS:
        return Kind.BINDING
    if name in CONSTRUCTORS:
        return Kind.CODE
    if reaches_code(name):
        return Kind.FOREIGN if module == "numpy.dtypes" and leaf.isidentifier() and is_class(leaf) else Kind.UNSAFE
    return Kind.FOREIGN if published(name).endswith(".*") else Kind.CODE


def constructs(name: str) -> bool:
    """Whether a pickle may call a name that is CODE: classes by their capital, and listed constructors."""
    return modern(name) in CONSTRUCTORS or is_class(name)


def is_class(name: str) -> bool:
    """Whether the last part of a dotted name is spelt like a class (``Net``, ``_DenseLayer``)."""
    return name.rpartition(".")[2].lstrip("_")[:1].isupper()


def published(name: str) -> str:
    """The entry of the published list that covers a foreign ``name``: ``package.*`` or the name itself."""
    name = modern(name)
    if name.rpartition(".")[2][:1].isupper():
        for package in FOREIGN_PACKAGES:
            if name.startswith(package + "."):
                return package + ".*"
    return name
