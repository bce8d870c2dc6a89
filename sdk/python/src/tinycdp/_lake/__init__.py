"""The lake in a notebook: `tinycdp.lake`. It reads the engine's tables and answers by the engine's own language, and
computes no trait itself. `client` is the door, `answers` what every call gives. Loaded when `tinycdp.lake` is called.
"""
