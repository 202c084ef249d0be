"""Pyramids: the shapes of their levels, the exact reductions, and the one pass that builds them."""
