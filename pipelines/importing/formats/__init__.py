"""Formats of other tools: which part of a record is which part of our events.

Each file of TOML here is a mapping, by its name. A user copies one and changes it.
"""
