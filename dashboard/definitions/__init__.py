"""What the screens of traits, segments and flags share: lists, forms, saving with a look at the difference, history.

Each file draws one part of a definition's page from the definition as the API answers it. A change goes through
`saving.ask_to_save`, which shows what differs, and is refused by the API once somebody else has saved another version.
"""
