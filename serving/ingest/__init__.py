"""From what a client sends to an accepted event: checked, named, in its own time, cut down to what records keep. Pure.
May import the words of the store (`logged_event`), never its connections.
"""
