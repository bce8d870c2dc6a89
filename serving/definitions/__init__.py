"""Traits, segments and flags as one compiled catalogue, and how a change of it is saved. May import ingest, store and
the language.
"""
