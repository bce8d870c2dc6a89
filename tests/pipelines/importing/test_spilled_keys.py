"""How often keys were added, whatever the order, and whether runs are in memory or in files."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from pipelines.importing.spilled_keys import KEY_BYTES, SpilledKeys


@pytest.mark.parametrize("in_memory_max", [0, 50, 1 << 20])
def test_keys_are_counted(in_memory_max: int) -> None:
    """Each look finds what was added before it, as a counter of all keys does; keys with zeros at their ends too."""
    dice = random.Random(5)
    choice = [dice.randbytes(KEY_BYTES) for _ in range(300)] + [bytes(KEY_BYTES), bytes([7]) + bytes(KEY_BYTES - 1)]
    spilled, plain = SpilledKeys(in_memory_max), Counter[bytes]()
    for _ in range(60):
        some = [dice.choice(choice) for _ in range(dice.randint(0, 40))]
        looked = [*dice.sample(choice, 20), dice.randbytes(KEY_BYTES)]
        assert spilled.counts(np.array(looked, f"S{KEY_BYTES}")).tolist() == [plain[key] for key in looked]
        spilled.add(np.array(some, dtype=f"S{KEY_BYTES}"))
        plain.update(some)
