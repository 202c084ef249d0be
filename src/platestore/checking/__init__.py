"""Is it OME-NGFF (``validate``), and is it whole (``check``)."""
