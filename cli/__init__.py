"""The front door: every command of `tinycdp`."""
