"""Every speed budget against its floor, measured in one run: `make bench`.

A *floor* is the least that any program would do for the same work: one Redis command under the same server, or one
query written by hand. Each path is measured in turn with its floor, and the budget is a ratio of the two.
"""

#: The instant as of which every made lake and base is read, in UTC milliseconds.
NOW = 1_800_000_000_000
