"""The command ``rectifier``, as ``python -m rectifier``."""

from rectifier.tools.cli import main

if __name__ == "__main__":
    main()
