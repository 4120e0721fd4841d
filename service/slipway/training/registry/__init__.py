"""Finished artifacts: immutable versions with a record, a model card and their lineage."""
