"""What OME-NGFF documents say: pure models and rules, without input or output, zarr or numpy.

Sources: OME-NGFF 0.4 (https://ngff.openmicroscopy.org/0.4/) and 0.5 (https://ngff.openmicroscopy.org/0.5/).
"""
