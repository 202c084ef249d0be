"""Side-by-side measurements of platestore, raw floors and peers: ``python -m benchmarks``."""
