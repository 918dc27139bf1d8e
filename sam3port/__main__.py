"""``python -m sam3port``."""

from sam3port.cli.main import main

if __name__ == "__main__":
    main()
