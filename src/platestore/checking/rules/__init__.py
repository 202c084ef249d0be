"""The rules of OME-NGFF documents on parsed JSON: no model, no zarr, nothing that takes time to import."""
