"""The parts of a person's page: what is known, which ids, which decisions, which events, and the end of it."""
