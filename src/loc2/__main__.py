"""``python -m loc2``."""

from loc2.cli import run

if __name__ == "__main__":
    run()
