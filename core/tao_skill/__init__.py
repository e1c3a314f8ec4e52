"""Agent skill bank with AutoML routing for skeleton-action classifiers."""

__version__ = "0.1.0"
