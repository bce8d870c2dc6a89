"""How replies read that several operations have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def clock_ms(reply: Sequence[bytes]) -> int:
    """TIME's reply in UTC ms."""
    return int(reply[0]) * 1000 + int(reply[1]) // 1000


def truth(replies: list[Any]) -> bool:
    """Whether the only reply is a number that is not 0."""
    return bool(replies[0])


def nothing(replies: list[Any]) -> None:
    """Replies that say nothing."""
    return None
