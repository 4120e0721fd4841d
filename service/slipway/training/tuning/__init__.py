"""Trains a model on a prepared dataset: adapters, whole models, heads; resumable at any moment."""
