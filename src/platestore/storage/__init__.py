"""Where bytes live: read, write, list, lock and delete the documents of a store."""
