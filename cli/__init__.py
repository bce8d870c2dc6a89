"""The command `tinycdp`, and the supervisor of the stack on one machine.

`main.py` has the commands; a file with a command's name does its work. It may import every other package, and none of
them imports it.
"""
