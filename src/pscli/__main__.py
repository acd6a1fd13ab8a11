"""`python -m pscli`, which is `pscli`."""

from pscli.cli import main

if __name__ == "__main__":
    main()
