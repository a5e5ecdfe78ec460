"""Element types of every container, by the names that safetensors gives them, with the bits of one element.

Sources: the safetensors format description; PyTorch's storage classes; ONNX's ``TensorProto.DataType``; ggml's table
of block types; NumPy's ``descr`` strings.
"""

from __future__ import annotations

# Bits of one element. The sub-byte types pack elements.
SAFETENSORS_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
BITS = {**SAFETENSORS_BITS, "C128": 128, "I4": 4, "U4": 4, "I2": 2, "U2": 2}

# Bytes within which a big-endian file reverses the order, where that is not the whole element.
SWAP = {"C64": 4, "C128": 8}

TORCH_STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "BoolStorage": "BOOL", "ComplexFloatStorage": "C64", "ComplexDoubleStorage": "C128",
}  # fmt: skip
TORCH_DTYPES = {
    "float64": "F64", "double": "F64", "float32": "F32", "float": "F32", "float16": "F16", "half": "F16",
    "bfloat16": "BF16", "int64": "I64", "long": "I64", "int32": "I32", "int": "I32", "int16": "I16", "short": "I16",
    "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL",
    "complex64": "C64", "cfloat": "C64", "complex128": "C128", "cdouble": "C128", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
}  # fmt: skip

ONNX_DTYPES = {
    1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16", 11: "F64", 12: "U32",
    13: "U64", 14: "C64", 15: "C128", 16: "BF16", 17: "F8_E4M3", 18: "F8_E4M3FNUZ", 19: "F8_E5M2", 20: "F8_E5M2FNUZ",
    21: "U4", 22: "I4", 23: "F4", 24: "F8_E8M0", 25: "U2", 26: "I2",
}  # fmt: skip

NUMPY_DTYPES = {
    "b1": "BOOL", "i1": "I8", "u1": "U8", "i2": "I16", "u2": "U16", "i4": "I32", "u4": "U32", "i8": "I64", "u8": "U64",
    "f2": "F16", "f4": "F32", "f8": "F64", "c8": "C64", "c16": "C128",
}  # fmt: skip

# ggml type -> name, elements of a block, bytes of a block.
GGML_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8),
    28: ("F64", 1, 8), 30: ("BF16", 1, 2),
    2: ("GGML_Q4_0", 32, 18), 3: ("GGML_Q4_1", 32, 20), 6: ("GGML_Q5_0", 32, 22), 7: ("GGML_Q5_1", 32, 24),
    8: ("GGML_Q8_0", 32, 34), 9: ("GGML_Q8_1", 32, 40), 10: ("GGML_Q2_K", 256, 84), 11: ("GGML_Q3_K", 256, 110),
    12: ("GGML_Q4_K", 256, 144), 13: ("GGML_Q5_K", 256, 176), 14: ("GGML_Q6_K", 256, 210),
    15: ("GGML_Q8_K", 256, 292), 16: ("GGML_IQ2_XXS", 256, 66), 17: ("GGML_IQ2_XS", 256, 74),
    18: ("GGML_IQ3_XXS", 256, 98), 19: ("GGML_IQ1_S", 256, 50), 20: ("GGML_IQ4_NL", 32, 18),
    21: ("GGML_IQ3_S", 256, 110), 22: ("GGML_IQ2_S", 256, 82), 23: ("GGML_IQ4_XS", 256, 136),
    29: ("GGML_IQ1_M", 256, 56), 34: ("GGML_TQ1_0", 256, 54), 35: ("GGML_TQ2_0", 256, 66),
    39: ("GGML_MXFP4", 32, 17), 40: ("GGML_NVFP4", 64, 36), 41: ("GGML_Q1_0", 128, 18),
}  # fmt: skip


def byte_count(dtype: str, elements: int) -> int:
    """Return the bytes of so many elements of a type that packs its elements into whole bytes at the end."""
    return -(-elements * BITS[dtype] // 8)
