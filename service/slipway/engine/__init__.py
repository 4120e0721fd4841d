"""Resolves a model and starts vLLM's server on it."""
