"""The execution in Polars: the definitions of everybody at once, over frames of all events; and the bases that are
published for read time. May import `text`, the root's files and `rules`; knows nothing of `live` and `sql`.
"""
