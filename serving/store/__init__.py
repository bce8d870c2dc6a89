"""All that knows Redis: keys, scripts, operations, records, bytes, and the two shells that send what operations make.
Of `serving` it may import `ids`, `settings` and `refusals` alone; of the language the states that it encodes.
"""
