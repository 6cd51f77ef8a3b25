"""`drivable-node`: arguments → config → run → exit status. What takes time to import comes after that."""

from __future__ import annotations

import sys

from perception.masking import mask_tracebacks, masked


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 only if nothing went wrong."""
    if arguments is None:  # as the command, and not within another program
        mask_tracebacks()
    from perception.config import NodeConfig
    from perception.run import ERRORS, run
    from perception.settings import parse

    try:
        return run(parse(NodeConfig, "drivable-node", "Frames in, drivable area out.", arguments))
    except ERRORS as error:
        print(masked(f"drivable-node: {error}"), file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
