"""The runtimes that a model can be measured in, by name. Free of torch."""

RUNTIMES = ("eager", "compile", "onnxruntime", "openvino")
