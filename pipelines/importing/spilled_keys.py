"""Very many keys of 16 bytes, and how often each was added: a few runs in order of the key, the large ones in files.

    added keys  →  a run  →  two runs of about one size become one, so that a look reads a handful of runs

Keys are hashes, so they are evenly spread: a merge goes from first byte to first byte, and in memory is one 256th of
the two. Each run has a key once, so equal keys cost nothing.
"""

from __future__ import annotations

import tempfile
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np

Keys: TypeAlias = "np.ndarray[Any, np.dtype[np.bytes_]]"
Counts: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

KEY_BYTES = 16
#: A run of more keys stands in files without names: 24 bytes each.
IN_MEMORY_MAX = 1 << 18


class _Run(NamedTuple):
    """Keys in order, each once, and how often each was added."""

    keys: Keys
    counts: Counts


class SpilledKeys:
    """How often keys were added."""

    def __init__(self, in_memory_max: int = IN_MEMORY_MAX) -> None:
        self._runs: list[_Run] = []
        self._in_memory_max = in_memory_max

    def add(self, keys: Keys) -> None:
        """Adds keys, once for each time that they stand there."""
        if not len(keys):
            return
        self._runs.append(_Run(*np.unique(keys, return_counts=True)))
        while len(self._runs) > 1 and len(self._runs[-2].keys) < 2 * len(self._runs[-1].keys):
            newer, older = self._runs.pop(), self._runs.pop()
            self._runs.append(self._merged(older, newer))

    def counts(self, keys: Keys) -> Counts:
        """How often each of the keys was added before."""
        counts = np.zeros(len(keys), dtype=np.int64)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run.keys, keys), len(run.keys) - 1)
            counts += np.where(run.keys[places] == keys, run.counts[places], 0)
        return counts

    def _merged(self, older: _Run, newer: _Run) -> _Run:
        if len(older.keys) + len(newer.keys) <= self._in_memory_max:
            return _merged(older, newer)
        ends_of = [[*np.searchsorted(run.keys, _FIRST_BYTES).tolist(), len(run.keys)] for run in (older, newer)]
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
            return _Run(_mapped(keys_file, older.keys.dtype, size), _mapped(counts_file, older.counts.dtype, size))


#: Where the part of each further first byte begins.
_FIRST_BYTES = np.array([bytes([first]) for first in range(1, 256)], dtype=f"S{KEY_BYTES}")


def _merged(older: _Run, newer: _Run) -> _Run:
    keys = np.concatenate([older.keys, newer.keys])
    in_order = np.argsort(keys, kind="stable")
    keys, counts = keys[in_order], np.concatenate([older.counts, newer.counts])[in_order]
    if not len(keys):
        return _Run(keys, counts)
    firsts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return _Run(keys[firsts], np.add.reduceat(counts, firsts))


def _mapped(file: BinaryIO, dtype: Any, size: int) -> Any:
    file.flush()
    return np.memmap(file, dtype, "r", shape=(size,))
