"""The models that can be asked: a folder with or without an adapter, or one that is served."""
