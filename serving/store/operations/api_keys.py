"""The API keys that admins made, and when each was used last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from serving.store import keys
from serving.store.operations.operation import operation
from serving.store.operations.replies import info_of, nothing, pairs
from serving.store.operations.sharded import Sharded
from serving.store.requests import Argument, Request, command
from serving.store.scripts import reserved


class KeyTexts(NamedTuple):
    """The texts of keys by id, as they were put, without those that were revoked.

    `are_all`: none is missing, since recovery has put all of them.
    """

    by_id: dict[str, bytes]
    are_all: bool


class ApiKeyOperations(Sharded):
    """The operations on API keys."""

    @operation
    def api_keys(self) -> Request[KeyTexts]:
        """The keys that admins made and nobody revoked.

        Recovery puts keys before it marks any shard as ready, so shard 0 tells whether they are those of this server.
        """

        def read(replies: list[Any]) -> KeyTexts:
            server, ready_run_id, texts = replies
            return KeyTexts(dict(pairs(texts)), ready_run_id == info_of(server)["run_id"].encode())

        return Request(
            [command("INFO", "server"), command("GET", keys.ready(0)), command("HGETALL", keys.api_keys())], read
        )

    @operation
    def revoked_api_keys(self) -> Request[dict[str, bytes]]:
        """The texts of revoked keys, by id."""
        return Request([command("HGETALL", keys.api_keys_revoked())], lambda replies: dict(pairs(replies[0])))

    @operation
    def put_api_keys(self, alive: Mapping[str, bytes], revoked: Mapping[str, bytes]) -> Request[None]:
        """Keeps keys, by id. Those that are revoked go from the hash that every process reads to one of their own.

        A key is first put as a revoked one where it is: should the rest be cut off, it is read as revoked.
        """
        puts = ((keys.api_keys(), {**alive, **revoked}), (keys.api_keys_revoked(), revoked))
        commands = [reserved.command("HSET", name, *_words(texts)) for name, texts in puts if texts]
        if revoked:
            commands.append(command("HDEL", keys.api_keys(), *revoked))
        return Request(commands, nothing)

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
        return Request([command("HSET", keys.api_keys_used(), *_words(used_ms))] if used_ms else [], nothing)


def _words(fields: Mapping[str, Argument]) -> list[Argument]:
    return [word for pair in fields.items() for word in pair]
