"""The words for runtimes, formats and precisions. Free of torch."""

RUNTIMES = ("eager", "compile", "onnxruntime", "openvino", "native", "native16")
"""In which a model can be measured."""

FITTED = ("native16",)
"""Runtimes that are fitted to images: they need data."""

FORMATS = ("native", "onnx", "openvino", "pt2", "packed", "packed-native")
"""In which a model can be shipped; the word auto means the fastest of them."""

AUTO = "auto"

PRECISIONS = {
    "native": ("fp32", "int16"),
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
    "pt2": ("fp32",),
    "packed": ("fp32",),
    "packed-native": ("fp32",),
}
"""What each format computes in; the first is its default."""

TARGETS = ("native", "x86-64-v3", "aarch64-linux", "wasm32-wasi")
"""What a native library is built for: this machine or another."""

FOREIGN = ("aarch64-linux", "wasm32-wasi")
"""Targets whose libraries do not run on the machine that makes them."""

NO_RUNTIME = ("packed", "packed-native")
"""Formats that are no runtime of their own: small on disk, run by PyTorch or as a native library built from them."""

CODE = ("native", "pt2")
"""Formats that are code: whoever opens one runs what it holds."""
