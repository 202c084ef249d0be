"""Copying stores: moving, converting, selecting, merging and packing them."""
