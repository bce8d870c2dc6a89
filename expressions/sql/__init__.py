"""The execution in a warehouse: a definition as one SELECT, in the dialect of an engine. May import `text`, the root's
files and `rules`; knows nothing of `batch` and `live`.
"""
