"""The API keys that admins made, and when each was used last."""

from __future__ import annotations

from collections.abc import Mapping

from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import nothing, pairs
from serving.store.operations.sharded import Sharded
from serving.store.requests import Argument, Request, command


class ApiKeyOperations(Sharded):
    """The operations on API keys."""

    @operation
    def api_keys(self) -> Request[dict[str, bytes]]:
        """The keys that admins made, by id, as they were put."""
        return Request([command("HGETALL", keys.api_keys())], lambda replies: dict(pairs(replies[0])))

    @operation
    def put_api_keys(self, texts: Mapping[str, bytes]) -> Request[None]:
        """Keeps keys, by id."""
        return _put(keys.api_keys(), texts)

    @operation
    def keys_used(self) -> Request[dict[str, int]]:
        """When each key was used last, UTC ms by id."""
        return Request(
            [command("HGETALL", keys.api_keys_used())],
            lambda replies: {key_id: int(ms) for key_id, ms in pairs(replies[0])},
        )

    @operation
    def note_used(self, used_ms: Mapping[str, int]) -> Request[None]:
        """Notes when keys were used, by id."""
        return _put(keys.api_keys_used(), used_ms)


def _put(name: str, fields: Mapping[str, Argument]) -> Request[None]:
    words = [word for pair in fields.items() for word in pair]
    return Request([command("HSET", name, *words)] if words else [], nothing)
