"""Each Lua script beside the function that makes its command and the one that reads its reply. KEYS, ARGV and reply are
in the module's docstring. May import the keys and the values of the store, and no operation.
"""
