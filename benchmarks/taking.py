"""Sends batches at a steady pace until it is stopped: the load beside which something else is measured."""

from __future__ import annotations

import sys

from benchmarks.http import batches
from benchmarks.load import measure

#: Long enough that it does not matter that connections are opened anew.
SECONDS = 5.0


def main() -> None:
    """Sends to an address, with a key, so many batches a second, of so many users."""
    url, key, per_second, users = sys.argv[1:]
    requests = batches(key, int(users), 0)
    while True:
        measure(url, requests, 8, SECONDS, per_second=float(per_second))


if __name__ == "__main__":
    main()
