"""The errors of the lake.

LakeError
├── LakeUnreachable   no folder, no object store, no permission: a later try may succeed
├── LakeDamaged       a file is not what was written: its remedy is in the message
├── LakeConflict      other writers were first, again and again
└── LakeBehind        it is older than Redis: an old copy was put in its place
"""

from __future__ import annotations


class LakeError(Exception):
    """Something went wrong between us and the lake's tables."""


class LakeUnreachable(LakeError):
    """The storage does not answer, or refuses.

    The message is one line: Delta puts a trace of its own behind its first.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.strip().partition("\n")[0])


class LakeDamaged(LakeError):
    """A file of the lake is not what was written, as where a disk lost power. The message has the remedy."""


class LakeConflict(LakeError):
    """Other writers were first, more often than we try."""


class LakeBehind(LakeError):
    """The lake lacks what Redis knows to be in it. The message ends with the remedy."""
