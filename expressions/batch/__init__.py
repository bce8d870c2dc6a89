"""The execution in Polars, over frames of every event of everybody. May import text, the root's files and `rules`;
knows nothing of `live` and `sql`.
"""
