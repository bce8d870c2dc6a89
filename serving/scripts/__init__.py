"""Each Lua script as one typed function: its text, how its arguments are packed, how its reply reads."""
