"""Names of files that others chose: in an archive, in a bucket, in a repository's list."""

from slipway.sources.errors import UnsafeArchiveError


def is_safe(name: str) -> bool:
    """Whether `name` is a plain relative path that stays below its folder on every system."""
    if not name or "\\" in name or ":" in name or not name.isprintable() or len(name) > 1024:
        return False
    return all(part not in {"", ".", ".."} and len(part.encode()) <= 255 for part in name.split("/"))


def require_safe(name: str, where: str) -> str:
    """`name`, if it is safe.

    Raises:
        UnsafeArchiveError: it is not.
    """
    if not is_safe(name):
        raise UnsafeArchiveError(
            f"{where} names a file {name!r}, which could be written outside its folder; it was not used."
        )
    return name
