"""The control plane: object -> desired manifests, applied server-side."""
