"""How often keys were added, whatever the order, and whether runs are in memory or in files."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from pipelines.importing.spilled_keys import KEY, KEY_BYTES, Keys, SpilledKeys


def keys_of(keys: list[bytes]) -> Keys:
    """Keys as an array."""
    return np.frombuffer(b"".join(keys), dtype=KEY)


@pytest.mark.parametrize("in_memory_max", [0, 50, 1 << 20])
def test_keys_are_counted(in_memory_max: int) -> None:
    """Each look finds what was added before it, as a counter of all keys does; keys whose first half agrees, too."""
    dice = random.Random(5)
    choice = [dice.randbytes(KEY_BYTES) for _ in range(300)] + [bytes(KEY_BYTES), b"\xff" * KEY_BYTES]
    choice += [key[:8] + dice.randbytes(8) for key in choice[:40] for _ in range(2)]  # equal in the first number
    spilled, plain = SpilledKeys(in_memory_max), Counter[bytes]()
    assert not spilled
    for _ in range(60):
        looked = [*dice.sample(choice, 20), dice.randbytes(KEY_BYTES)]
        assert spilled.counts(keys_of(looked)).tolist() == [plain[key] for key in looked]
        some = [dice.choice(choice) for _ in range(dice.randint(0, 40))]
        places = spilled.add(keys_of(some)).tolist()
        for key, place in zip(some, places, strict=True):
            assert place == plain[key]
            plain[key] += 1
    assert spilled


class ScarceKeys(SpilledKeys):
    """Keys whose first merge finds no memory."""

    is_scarce = True

    def _merged(self, older: Any, newer: Any) -> Any:
        if self.is_scarce:
            self.is_scarce = False
            raise MemoryError
        return super()._merged(older, newer)


def test_keys_for_which_memory_failed_were_not_added() -> None:
    """They are added again, each once: else equal rows of a file would take other places, and so other ids."""
    dice = random.Random(6)
    keys = keys_of([dice.randbytes(KEY_BYTES) for _ in range(9)])
    spilled = ScarceKeys()
    spilled.add(keys[:4])
    with pytest.raises(MemoryError):
        spilled.add(keys)
    assert spilled.add(keys).tolist() == [1] * 4 + [0] * 5
    assert spilled.counts(keys).tolist() == [2] * 4 + [1] * 5
