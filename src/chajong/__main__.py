"""Lets `python -m chajong` and `torchrun -m chajong` stand for the command `chajong`."""

from chajong.cli import main

if __name__ == "__main__":
    main()
