"""Who may call: keys and their rates, signed addresses, and the audit log of what admins did.

May import `serving.history` and what stands below it. Knows nothing of people.
"""
