"""History from files into the lake, past the log. `import_file` is the door; `chunks` reads files, and `by_column`,
`by_row` and `as_sent` make events of their rows. May import `expressions`, `lake`, `pipelines.rows`, and of `serving`
ids, ingest, refusals and the event of the log.
"""
