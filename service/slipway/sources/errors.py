"""Why a model could not be fetched.

SourceError
├── SourceAddressError       the address itself cannot be read
├── SourceNotFoundError      no such folder, repository, revision, package, version, file or bucket
├── AccessDeniedError        it exists, and this machine may not read it
├── UnreachableError         network down, or switched off, and nothing cached
├── SourceChangedError       it changed while it was read
├── DigestMismatchError      what arrived is not what was promised
├── UnsafeArchiveError       an archive or a list of files that would write outside its folder
├── UnsafeWeightsError       weights that only unpickling could load
├── NotAModelError           no config.json, or no weights
├── NoDataError              no file with data
├── CacheError               the cache's folder cannot be written
├── DiskFullError            not enough room for the cache
├── MissingDependencyError   this environment lacks a library that is needed
├── ConversionError          a GGUF file that could not be converted
└── FetchCancelledError      the caller asked to stop

Names say the cause, messages say the mend. What was downloaded before an error is kept for the next attempt.
"""


class SourceError(Exception):
    """A model that could not be fetched."""


class SourceAddressError(SourceError, ValueError):
    """The address itself cannot be read."""


class SourceNotFoundError(SourceError):
    """No such folder, repository, revision, package, version, file or bucket."""


class AccessDeniedError(SourceError):
    """It exists, and this machine may not read it."""


class UnreachableError(SourceError):
    """Network down, or switched off, and nothing cached."""


class SourceChangedError(SourceError):
    """It changed while it was read."""


class DigestMismatchError(SourceError):
    """What arrived is not what was promised."""


class UnsafeArchiveError(SourceError):
    """An archive or a list of files that would write outside its folder, or without bound."""


class UnsafeWeightsError(SourceError):
    """Weights that only unpickling could load."""


class NotAModelError(SourceError):
    """No config.json, or no weights."""


class NoDataError(SourceError):
    """No file with data."""


class CacheError(SourceError):
    """The cache's folder cannot be written."""


class DiskFullError(SourceError):
    """Not enough room for the cache."""


class MissingDependencyError(SourceError):
    """This environment lacks a library that is needed."""


class ConversionError(SourceError):
    """A GGUF file that could not be converted."""


class FetchCancelledError(SourceError):
    """The caller asked to stop."""
