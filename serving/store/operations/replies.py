"""How replies read, for operations of several subjects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from serving.store.errors import ProjectionOutdated, ShardNotReady, StoreError, StoreFull

T = TypeVar("T")


def clock_ms(reply: Sequence[bytes]) -> int:
    """The UTC ms of a reply to TIME."""
    return int(reply[0]) * 1000 + int(reply[1]) // 1000


def only(read: Callable[[Any], T]) -> Callable[[list[Any]], T]:
    """A reader of requests with one command, from a reader of its reply."""
    return lambda replies: read(replies[0])


def each(read: Callable[[Any], T]) -> Callable[[list[Any]], list[T]]:
    """A reader of requests with several commands, from a reader of one reply."""
    return lambda replies: [read(reply) for reply in replies]


def nothing(replies: list[Any]) -> None:
    """None, whatever the replies are."""
    return None


def pairs(flat: Sequence[bytes]) -> Iterable[tuple[str, bytes]]:
    """The (field, value) pairs of a reply to HGETALL."""
    return ((name.decode(), value) for name, value in zip(flat[::2], flat[1::2], strict=True))


def info_of(text: bytes) -> dict[str, str]:
    """The values of a reply to INFO, by name."""
    values = {}
    for line in text.decode(errors="replace").splitlines():
        name, colon, value = line.strip().partition(":")
        if colon and not name.startswith("#"):
            values[name] = value
    return values


def refusal(shard: int, word: str, projection: int = 0) -> StoreError:
    """The error for the word with which a script refused the whole call. `projection` is the caller's version."""
    match word:
        case "unready":
            return ShardNotReady(shard)
        case "outdated":
            return ProjectionOutdated(shard, projection)
        case _:
            return StoreFull(f"the log of shard {shard} is full: the drain is behind, or the lake is away")
