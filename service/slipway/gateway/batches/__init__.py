"""Batches: files of requests, answered at low priority under their key's limits, whatever is killed."""
