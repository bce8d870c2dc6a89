"""Each Lua script as one typed function: KEYS, ARGV and reply in its docstring. May import the keys and the words of
the store; only its operations import them.
"""
