"""From text to a bound definition, and back to text: tokens, grammar, names, types, caret errors. May import the root's
files and `rules`; no execution.
"""
