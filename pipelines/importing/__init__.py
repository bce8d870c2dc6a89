"""History from files into the lake, past the log. `import_file` is the door; `chunks` reads files, and `by_column` and
`by_row` make events of their rows. May import `expressions`, `lake`, and of `serving` ids, ingest and refusals.
"""
