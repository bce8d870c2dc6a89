"""Deletes made physical: every row, file and key of the deleted, and the search that proves that nothing is left. May
import the flows' parts (leases, drain, rebuild, rewriting), `serving` and `lake`.
"""
