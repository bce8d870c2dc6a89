"""Long work beside the API: the drain from log to lake with recovery, the worker that rebuilds, purges and maintains,
and the import of files. May import `serving`, `expressions` and `lake`.
"""
