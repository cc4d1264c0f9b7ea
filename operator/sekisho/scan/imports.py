"""What a pickle may import: types and functions that build tensors, and can do nothing else."""

from typing import Final

_STORAGES: Final = tuple(
    f"{kind}Storage"
    for kind in (
        "Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool", "ComplexFloat",
        "ComplexDouble", "QUInt8", "QInt8", "QInt32", "QUInt4x2", "QUInt2x4", "Untyped",
    )
)  # fmt: skip
_DTYPES: Final = (
    "float64", "float32", "float16", "bfloat16", "complex64", "complex128", "int64", "int32", "int16", "int8", "uint8",
    "uint16", "uint32", "uint64", "bool", "float8_e4m3fn", "float8_e5m2", "quint8", "qint8", "qint32",
    "per_tensor_affine", "per_channel_affine", "strided", "contiguous_format",
)  # fmt: skip
_REBUILD: Final = (
    "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter", "_rebuild_sparse_tensor",
    "_rebuild_qtensor", "_rebuild_meta_tensor_no_storage",
)  # fmt: skip

CALLED: Final = frozenset(
    {
        ("collections", "OrderedDict"),
        ("_codecs", "encode"),
        ("torch", "Size"),
        ("torch", "device"),
        ("torch.serialization", "_get_layout"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        *(("torch._utils", name) for name in _REBUILD),
        *((module, kind) for module in ("builtins", "__builtin__") for kind in ("set", "frozenset", "complex")),
    }
)
"""Imports that may be called: they build values and can do nothing else, whatever they are given."""

NAMED: Final = CALLED | frozenset(
    {
        ("numpy", "ndarray"),
        ("torch.storage", "UntypedStorage"),
        *(("torch", name) for name in (*_STORAGES, *_DTYPES)),
    }
)
"""Imports that may stand as values."""
