"""The commands on a Kubernetes cluster. Loaded by those commands that work there."""
