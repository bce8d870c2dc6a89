"""`tinycdp.lake`: the lake in a notebook, by the extra `tinycdp[lake]`.

Polars and deltalake are imported when it is called: who only tracks and decides never waits for them.
"""

from __future__ import annotations

from datetime import datetime
from os import PathLike, fspath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._lake.client import LakeClient


def lake(
    uri: str | PathLike[str], *, version: int | None = None, received_until: datetime | int | str | None = None
) -> LakeClient:
    """Opens a lake to be read: a folder, or `s3://…`, `gs://…`, `az://…` by the credentials of the environment.

    All answers are of one `version` of its events, by default the newest. Older ones can be read as long as their files
    are kept, a day after they were replaced. `received_until` leaves out what was received later, so that a set can be
    made again: all but people deleted since. Makes and changes nothing. Raises `LakeError` where no lake is.
    """
    try:
        from ._lake.client import LakeClient
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tinycdp"):
            raise
        raise ImportError(
            f'tinycdp.lake needs {error.name}, which is not installed: pip install "tinycdp[lake]"', name=error.name
        ) from error
    return LakeClient(fspath(uri), version, received_until)
