"""Is a store whole: what is on disk against what the documents say, and how it is repaired."""
