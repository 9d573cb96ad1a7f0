"""Run the command as `python -m regsearch.cli`."""

from regsearch.cli.app import main

if __name__ == "__main__":
    main()
