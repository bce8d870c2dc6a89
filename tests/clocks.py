"""Redis' clock in tests: it cannot be set, so the scripts are told another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from pipelines import recover
from serving.store import layout
from serving.store.scripts import claim, delete, ingest
from serving.store.scripts.script import Script

SCRIPTS = ((ingest, "INGEST"), (claim, "CLAIM"), (delete, "DELETE"))


@contextmanager
def clock_ahead(ms: int) -> Iterator[None]:
    """Redis' clock is ahead, as the scripts that take events, claims and deletes see it."""
    with pytest.MonkeyPatch.context() as patch:
        _edit(patch, "return seconds * 1000 +", f"return {ms} + seconds * 1000 +")
        yield


@contextmanager
def last_receipt_is_the_clock() -> Iterator[None]:
    """The last receipt is believed however far ahead it is, so that a test sets the clock by `Store.resume`."""
    any_lead_ms = 2**52
    with pytest.MonkeyPatch.context() as patch:
        _edit(patch, f"clock + {layout.LEAD_MS_MAX}", f"clock + {any_lead_ms}")
        patch.setattr(layout, "LEAD_MS_MAX", any_lead_ms)
        patch.setattr(recover, "LEAD_MS_MAX", any_lead_ms)
        yield


def _edit(patch: pytest.MonkeyPatch, old: str, new: str) -> None:
    for module, name in SCRIPTS:
        script: Script[Any] = getattr(module, name)
        assert script.text.count(old) == 1, f"not in {name}: {old}"
        patch.setattr(module, name, replace(script, text=script.text.replace(old, new)))
