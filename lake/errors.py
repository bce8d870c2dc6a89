"""What can go wrong with the lake.

LakeError
├── LakeUnreachable   no folder, no object store, no permission: what was asked may pass later
└── LakeConflict      another writer was first, again and again
"""

from __future__ import annotations


class LakeError(Exception):
    """Something between us and the lake's tables."""


class LakeUnreachable(LakeError):
    """The storage does not answer, or refuses."""


class LakeConflict(LakeError):
    """Other writers were first, more often than is worth trying."""
