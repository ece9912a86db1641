"""``python -m fmtlib`` is the console script ``fmtlib``."""

from fmtlib.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
