"""The version of a file of tokens, by which its readers see that it has changed."""

from pathlib import Path


def file_version(path: str) -> tuple[int, int, int] | None:
    """Return what differs once a file was written or replaced; None when there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
