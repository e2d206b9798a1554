"""`python -m app.cli` is `lapsrn`."""

from app.cli import main

if __name__ == "__main__":
    main()
