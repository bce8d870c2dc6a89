"""All operations together, as a value, and as what both shells inherit. A new subject is one more base class here."""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.ids import SHARDS_DEFAULT
from serving.store.operations.activity import ActivityOperations
from serving.store.operations.api_keys import ApiKeyOperations
from serving.store.operations.bases import BaseOperations
from serving.store.operations.catalogue import CatalogueOperations
from serving.store.operations.events import EventOperations
from serving.store.operations.leases import LeaseOperations
from serving.store.operations.links import LinkOperations
from serving.store.operations.newest_events import NewestEventOperations
from serving.store.operations.operation import MakesRequests
from serving.store.operations.purge import PurgeOperations
from serving.store.operations.rebuild_requests import RebuildRequestOperations
from serving.store.operations.records import RecordOperations
from serving.store.operations.recovery import RecoveryOperations
from serving.store.operations.runs import RunOperations
from serving.store.operations.server import ServerOperations
from serving.store.operations.shards import ShardOperations
from serving.store.operations.streams import StreamOperations
from serving.store.scripts.ingest import TailLimits


class EveryOperation(
    EventOperations,
    NewestEventOperations,
    RecordOperations,
    LinkOperations,
    BaseOperations,
    RebuildRequestOperations,
    CatalogueOperations,
    ShardOperations,
    RecoveryOperations,
    PurgeOperations,
    ApiKeyOperations,
    ActivityOperations,
    LeaseOperations,
    RunOperations,
    StreamOperations,
    ServerOperations,
):
    """Every operation of every subject."""


@dataclass(frozen=True)
class Operations(EveryOperation, MakesRequests):
    """The operations on a store of so many shards: each makes its request."""

    shards: int = SHARDS_DEFAULT
    limits: TailLimits = field(default_factory=TailLimits)
