"""``python -m platestore``."""

from platestore.cli import main

if __name__ == "__main__":
    main()
