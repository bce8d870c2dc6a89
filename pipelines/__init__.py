"""Long work: the drain from log to lake, and the flows that rebuild, import and maintain."""
