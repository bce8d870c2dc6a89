"""How often a process of the stack looks for objects that refer to each other and are otherwise forgotten.

Python looks after every 700 new objects, and now and then through all there are. A process that holds a catalogue, or
reads a hundred thousand log entries at once, then looks through the same live objects over and over: a full look cost
tens of milliseconds of somebody's decision, and half of the drain's time. Next to nothing of ours refers to itself.
"""

from __future__ import annotations

import gc


def settle() -> None:
    """What is alive now is never looked through again, and what comes after it rarely. Once a process has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
