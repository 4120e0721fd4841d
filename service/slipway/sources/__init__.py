"""Model sources behind one interface, into one content-addressed cache.

    model = fetch("hf://org/name@revision", progress=print)
    model.path, model.digest, model.resolved

Importing this is light: the libraries of a source are loaded when it is fetched from.
"""

from slipway.sources.errors import (
    AccessDeniedError,
    CacheError,
    ConversionError,
    DigestMismatchError,
    DiskFullError,
    FetchCancelledError,
    MissingDependencyError,
    NoDataError,
    NotAModelError,
    SourceAddressError,
    SourceChangedError,
    SourceError,
    SourceNotFoundError,
    UnreachableError,
    UnsafeArchiveError,
    UnsafeWeightsError,
)
from slipway.sources.fetching import FetchedModel, fetch, fetch_data
from slipway.sources.progress import Progress

__all__ = [
    "AccessDeniedError",
    "CacheError",
    "ConversionError",
    "DigestMismatchError",
    "DiskFullError",
    "FetchCancelledError",
    "FetchedModel",
    "MissingDependencyError",
    "NoDataError",
    "NotAModelError",
    "Progress",
    "SourceAddressError",
    "SourceChangedError",
    "SourceError",
    "SourceNotFoundError",
    "UnreachableError",
    "UnsafeArchiveError",
    "UnsafeWeightsError",
    "fetch",
    "fetch_data",
]
