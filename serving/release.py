"""Which release of TinyCDP this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """The version of the installed engine; "unknown" in a checkout that nobody installed."""
    try:
        return version("tinycdp-engine")
    except PackageNotFoundError:
        return "unknown"
