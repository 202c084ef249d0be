"""How something new gets its place: it grows beside it, with a journal, under a lock, and is installed once.

Nothing is deleted before the new thing stands, and readers see the old one or the new one. What an
interruption leaves beside the place is continued, or cleared by whoever begins anew.
"""
