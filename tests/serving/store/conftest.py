"""What the store's tests share: their clock, and stores on a Redis of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis

from serving.store.scripts.ingest import TailLimits
from serving.store.store import Store
from tests.clocks import last_receipt_is_the_clock
from tests.serving.store.arrivals import only_known_keys, ready


@pytest.fixture(scope="module")
def clock() -> Iterator[None]:
    """The tests put the clock forward by the last receipt."""
    with last_receipt_is_the_clock():
        yield


@pytest.fixture
def open_store(redis_url: str) -> Iterator[Callable[..., Store]]:
    """Opens stores that are ready for ingest; at the end Redis must hold nothing that keys.py does not know."""
    with ExitStack() as stack:
        stack.enter_context(only_known_keys(redis_url))

        def opened(shards: int = 1, **limits: int) -> Store:
            return ready(stack.enter_context(Store(redis_url, shards, TailLimits(**limits))))

        yield opened


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    """A store of one shard, so that seqs are easy to tell."""
    return open_store()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """The same Redis, bare."""
    with redis.Redis.from_url(redis_url) as opened:
        yield opened
