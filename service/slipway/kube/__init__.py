"""A small asynchronous client of the Kubernetes API; objects are plain dicts, as the API has them.

`config` finds the API server and the credentials, `client` makes calls, `informers` keep a local copy of a
kind up to date, `kinds` names what is read and written, `errors` is the one tree of what can go wrong.
aiohttp is loaded when the first connection is made.
"""

from slipway.kube.calls import Obj
from slipway.kube.client import Client
from slipway.kube.informers import Informer
from slipway.kube.kinds import Kind

__all__ = ["Client", "Informer", "Kind", "Obj"]
