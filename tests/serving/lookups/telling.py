"""A question that logs, and fails."""

from __future__ import annotations

import structlog

log = structlog.get_logger()


def tell_and_fail(secret: str) -> None:
    """Logs a warning and an error, and fails by an error whose text is somebody's."""
    log.info("nothing much")
    log.warning("odd", shard=3)
    try:
        raise KeyError(secret)
    except KeyError as error:
        log.error("undone", exc_info=error)
    raise ZeroDivisionError(secret)
