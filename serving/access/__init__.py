"""Who may call: keys, their rates, signed addresses, and the audit log of what admins did. May import `serving.history`
and what stands below it; knows nothing of people.
"""
