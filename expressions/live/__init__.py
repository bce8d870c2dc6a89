"""The execution at read time, on the states of one person. May import text, the root's files and `rules`; knows nothing
of `batch` and `sql`.
"""
