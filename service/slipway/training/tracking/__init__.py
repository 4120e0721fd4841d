"""Runs written down beside the workspace: in trackers, and what they take in energy."""
