"""``python -m perspective_broker.cli``: the ``pb`` command where it is not on the path."""

from . import main

if __name__ == "__main__":
    main()
