"""Trained models as ONNX files and TensorRT engines, and any of them as a scorer."""
