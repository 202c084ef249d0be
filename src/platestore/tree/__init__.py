"""Editors of the documents of nodes, and the changes that need more than one document."""
