"""Slipway: a language model from data to production, on a laptop or on Kubernetes."""

__version__ = "0.1.0"
