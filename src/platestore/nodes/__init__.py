"""What the user holds: plates, rows, wells, positions and series."""
