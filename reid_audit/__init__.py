"""Release gate for medical-imaging models: reconstruct training data from weights, score re-identification risk."""

__version__ = "0.1.0"
