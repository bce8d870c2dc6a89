"""Traits, segments and flags as one compiled catalogue, and how a change of it is saved.

May import the store and the language, `serving.ids` and `serving.refusals`. Reaches the lake only through what its
callers hand in.
"""
