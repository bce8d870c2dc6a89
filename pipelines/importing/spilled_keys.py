"""Very many keys of 16 bytes, and how often each was added: a few runs in order of the key, the large ones in files.

    added keys  →  a run  →  two runs of about one size become one, so that a look reads a handful of runs

Keys are hashes, so they are evenly spread: a merge goes from first byte to first byte, and in memory is one 256th of
the two. Each run has a key once, so equal keys cost nothing. A key is two numbers: runs are in order of the first one,
where keys hardly ever agree that differ in the second.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np

KEY = np.dtype([("high", "<u8"), ("low", "<u8")])
KEY_BYTES = KEY.itemsize
#: A run of more keys stands in files without names: 24 bytes each.
IN_MEMORY_MAX = 1 << 18

Keys: TypeAlias = "np.ndarray[Any, np.dtype[np.void]]"
Numbers: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"


class _Run(NamedTuple):
    """Keys in order, each once, and how often each was added."""

    keys: Keys
    counts: Numbers


class SpilledKeys:
    """How often keys were added."""

    def __init__(self, in_memory_max: int = IN_MEMORY_MAX) -> None:
        self._runs: list[_Run] = []
        self._in_memory_max = in_memory_max

    def __bool__(self) -> bool:
        return bool(self._runs)

    def add(self, keys: Keys) -> Numbers:
        """Adds keys, once for each time that they stand there; returns how often each was added before it.

        Where memory fails nothing was added, so it may be done again.
        """
        if not len(keys):
            return np.zeros(0, dtype=np.int64)
        in_order, firsts, counts = _grouped(keys)
        run = _Run(keys[in_order[firsts]], counts)
        places = np.empty(len(keys), dtype=np.int64)
        places[in_order] = np.arange(len(keys)) + np.repeat(self.counts(run.keys) - firsts, counts)
        runs = [*self._runs, run]
        while len(runs) > 1 and len(runs[-2].keys) < 2 * len(runs[-1].keys):
            newer, older = runs.pop(), runs.pop()
            runs.append(self._merged(older, newer))
        self._runs = runs
        return places

    def batches(self, size: int) -> Iterator[Keys]:
        """All keys, at most so many at a time. One may be in several."""
        for run in self._runs:
            for at in range(0, len(run.keys), size):
                yield run.keys[at : at + size]

    def counts(self, keys: Keys) -> Numbers:
        """How often each of the keys was added before."""
        counts = np.zeros(len(keys), dtype=np.int64)
        for run in self._runs:
            places = np.searchsorted(run.keys["high"], keys["high"])
            left = np.arange(len(keys))
            while len(left):  # mostly once; again for keys that agree in their first number
                left = left[places[left] < len(run.keys)]
                found = run.keys[places[left]]
                left, found = left[found["high"] == keys["high"][left]], found[found["high"] == keys["high"][left]]
                is_key = found["low"] == keys["low"][left]
                counts[left[is_key]] += run.counts[places[left[is_key]]]
                left = left[~is_key]
                places[left] += 1
        return counts

    def _merged(self, older: _Run, newer: _Run) -> _Run:
        if len(older.keys) + len(newer.keys) <= self._in_memory_max:
            return _merged(older, newer)
        ends_of = [[*np.searchsorted(run.keys["high"], _STEPS).tolist(), len(run.keys)] for run in (older, newer)]
        with tempfile.TemporaryFile() as keys_file, tempfile.TemporaryFile() as counts_file:
            starts, size = (0, 0), 0
            for ends in zip(*ends_of, strict=True):
                both = [
                    _Run(run.keys[start:end], run.counts[start:end])
                    for run, start, end in zip((older, newer), starts, ends, strict=True)
                ]
                part, starts = _merged(*both), ends
                part.keys.tofile(keys_file)
                part.counts.tofile(counts_file)
                size += len(part.keys)
            return _Run(_mapped(keys_file, KEY, size), _mapped(counts_file, older.counts.dtype, size))


#: Where each further 256th of all first numbers begins.
_STEPS = np.arange(1, 256, dtype=np.uint64) << np.uint64(56)


def _grouped(keys: Keys) -> tuple[Numbers, Numbers, Numbers]:
    """The places of keys in their order, where in that each distinct one begins, and how often it is there.

    Equal keys are in the order in which they stand.
    """
    in_order = np.argsort(keys["high"], kind="stable")
    high, low = keys["high"][in_order], keys["low"][in_order]
    if ((high[1:] == high[:-1]) & (low[1:] != low[:-1])).any():
        in_order = np.lexsort((keys["low"], keys["high"]))
        high, low = keys["high"][in_order], keys["low"][in_order]
    is_first = np.concatenate([[True], (high[1:] != high[:-1]) | (low[1:] != low[:-1])])
    firsts = np.flatnonzero(is_first)
    return in_order, firsts, np.diff([*firsts.tolist(), len(keys)])


def _merged(older: _Run, newer: _Run) -> _Run:
    keys, counts = np.concatenate([older.keys, newer.keys]), np.concatenate([older.counts, newer.counts])
    if not len(keys):
        return _Run(keys, counts)
    in_order, firsts, _ = _grouped(keys)
    return _Run(keys[in_order[firsts]], np.add.reduceat(counts[in_order], firsts))


def _mapped(file: BinaryIO, dtype: Any, size: int) -> Any:
    file.flush()
    return np.memmap(file, dtype, "r", shape=(size,))
