"""Change streams: whose they are, which are open, and what moved for them.

May import the engine and what stands below it; what a message says is given by the API.
"""
