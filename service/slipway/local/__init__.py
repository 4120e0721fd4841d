"""Local runs: the objects of a cluster as processes of this machine."""
