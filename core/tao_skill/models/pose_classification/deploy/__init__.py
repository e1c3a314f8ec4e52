"""Trained models as ONNX files and TensorRT engines, and scoring with a model of any file type."""
