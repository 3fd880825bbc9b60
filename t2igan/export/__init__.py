"""Export: a trained generator as ONNX, StableHLO, safetensors, and a page for the browser."""
