"""The source of truth: Delta tables. Knows storage, not meaning."""
