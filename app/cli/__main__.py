"""`python -m app.cli` runs `lapsrn`."""

from app.cli import main

if __name__ == "__main__":
    main()
