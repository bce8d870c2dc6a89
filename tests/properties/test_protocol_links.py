"""Calls that link and unlink at one moment, and a user with as many ids as there may be: whose each id stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.embedded_redis import EmbeddedRedis
from tests.properties.link_world import LINK_STEPS, LinkWorld
from tests.properties.protocol_walk import walk

STEPS = 120


@pytest.mark.deep(kept=1)
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("seed", "favoured"), [(0, ("link_at_once",)), (1, ("link_at_once",)), (2, ("link_at_once", "link_and_die"))]
)
def test_walks_with_calls_at_once_leave_everybody_whose_they_are(
    server: EmbeddedRedis, tmp_path: Path, seed: int, favoured: tuple[str, ...]
) -> None:
    """Two callers who link, alias, repeat, unlink or delete, whatever their order: the first claim stands, a ring does
    not, an unlink or a delete is not undone by what was said before it, and beyond the cap a link is refused. A ring
    that two killed callers left (seed 2) is opened by the drain."""
    world = LinkWorld(server, tmp_path, 256 if seed % 2 else 2)
    try:
        taken = list(walk(world, seed, STEPS, favoured, known=LINK_STEPS))
    finally:
        world.close()
    assert len(taken) == STEPS + 1
