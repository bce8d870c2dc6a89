"""People with emails, whatever happens in whatever order: each id answers what brute force says, live and by batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.embedded_redis import EmbeddedRedis
from tests.properties.email_world import EMAIL_STEPS, EmailWorld
from tests.properties.protocol_walk import SEEDS, walk

STEPS = 150


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(2, 2 + SEEDS))
def test_walks_with_emails_leave_answers_right(server: EmbeddedRedis, tmp_path: Path, seed: int) -> None:
    """Emails own devices and are users'; people are deleted by any of their ids, by the hash of an email too."""
    world = EmailWorld(server, tmp_path, 256 if seed % 2 else 2)
    try:
        taken = list(walk(world, seed, STEPS, favour=("send_ids", "delete_person"), known=EMAIL_STEPS))
    finally:
        world.close()
    assert len(taken) == STEPS + 1
    assert world.deleted_by_email
