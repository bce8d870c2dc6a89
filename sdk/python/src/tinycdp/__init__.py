"""Client of TinyCDP: events out, decisions in.

import tinycdp

cdp = tinycdp.Client("https://cdp.example.com", write_key="…", read_key="…")
cdp.track("ada", "purchase", {"amount": 30})
if cdp.decide("ada", "free_shipping", False): ...
"""

from ._core import Failure
from ._decisions import Decision
from ._lake_door import lake
from ._outbox import State, Stats
from .admin import Admin
from .async_client import AsyncClient, AsyncHandle
from .client import Client, Handle
from .errors import (
    AnswerTooLarge,
    ApiError,
    ConfigurationError,
    Conflict,
    Forbidden,
    InvalidRequest,
    LakeError,
    NotFound,
    PreconditionFailed,
    QueueFull,
    TinyCDPError,
    Unauthenticated,
    Unavailable,
    UnknownIds,
    Unreachable,
)

__all__ = [
    "Admin",
    "AnswerTooLarge",
    "ApiError",
    "AsyncClient",
    "AsyncHandle",
    "Client",
    "ConfigurationError",
    "Conflict",
    "Decision",
    "Failure",
    "Forbidden",
    "Handle",
    "InvalidRequest",
    "LakeError",
    "NotFound",
    "PreconditionFailed",
    "QueueFull",
    "State",
    "Stats",
    "TinyCDPError",
    "Unauthenticated",
    "Unavailable",
    "UnknownIds",
    "Unreachable",
    "lake",
]
