"""The text of expressions: it is read into trees, bound to definitions, checked by type, and written again. Every
refusal shows the place of the mistake. May import the root's files and `rules`, and no execution.
"""
