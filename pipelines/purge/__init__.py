"""Deletes made physical: every row, file and key of the deleted goes, and a search proves that nothing is left. `purge`
is done daily, beside everybody; `purge_now` stops all who write, and covers today. May import the flows' parts (leases,
drain, rebuild, rows), `serving`, `lake` and `expressions`.
"""
