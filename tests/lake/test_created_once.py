"""Several processes may find no table at once: one of them makes it, so that a lake has one id for good."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from lake.lake import Lake

AT_ONCE, LAKES = 4, 25


def test_a_table_that_several_create_at_once_is_created_once(tmp_path: Path) -> None:
    """All see one id, and the table's log has one note of it: a second one would make it another lake."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for number in range(LAKES):
            root, together = tmp_path / str(number), Barrier(AT_ONCE)

            def id_of(_: int, root: Path = root, together: Barrier = together) -> str:
                lake = Lake(str(root))
                together.wait()
                return lake.id()

            ids = list(threads.map(id_of, range(AT_ONCE)))
            logs = [path.read_text() for path in (root / "events" / "_delta_log").glob("*.json")]
            noted = [json.loads(line) for log in logs for line in log.splitlines()]
            assert [line["metaData"]["id"] for line in noted if "metaData" in line] == ids[:1]
            assert ids == ids[:1] * AT_ONCE
