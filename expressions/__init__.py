"""The language of traits, segments and flags: parsed once, run in the batch, at read time and in a warehouse."""
