"""Training: from a pinned window of the clean table to one ONNX graph that takes raw columns."""
