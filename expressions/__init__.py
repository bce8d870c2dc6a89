"""The language of traits, segments and flags, and its executions: in the batch, at read time and in SQL. The files of
this folder say what can be written and computed: nodes, functions, aggregates, monoids and definitions. They may import
each other and `rules`. The package imports nothing else of ours, does no I/O and reads no clock.
"""
