"""Pixels: the layout and codecs of arrays, and the array classes that users hold."""
