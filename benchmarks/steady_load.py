"""Sends batches at a steady pace until it is stopped: the load beside which something else is measured."""

from __future__ import annotations

import sys

from benchmarks.load import measure
from benchmarks.stack import batches

#: How long connections stay open. Opening them anew does not show in so long a time.
SECONDS = 5.0


def main() -> None:
    """Sends batches of the users to an address with a key, so many a second."""
    url, key, per_second, users = sys.argv[1:]
    requests = batches(key, int(users), 0)
    while True:
        measure(url, requests, 8, SECONDS, per_second=float(per_second))


if __name__ == "__main__":
    main()
