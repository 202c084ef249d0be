"""Does a hierarchy fit its metadata: what `validate` finds beyond single documents."""
