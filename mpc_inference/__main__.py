"""One role as a process: `python -m mpc_inference dealer|party --config FILE [--index N]`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from mpc_inference import launch
from mpc_inference.errors import MpcError


def main() -> int:
    """Run the role until SIGINT or SIGTERM; answers the exit status."""
    parser = argparse.ArgumentParser(prog="mpc_inference", description=__doc__)
    parser.add_argument("role", choices=("dealer", "party"))
    parser.add_argument("--config", type=Path, required=True, help="the deployment file that `llmos mpc init` wrote")
    parser.add_argument("--index", type=int, choices=(0, 1), help="which party")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")

    def progress(done: int, total: int) -> None:
        if done == total:
            logging.getLogger("mpc_inference").info("loaded %d layers", total)

    try:
        if given.role == "dealer":
            launch.run_dealer(given.config, progress)
        elif given.index is None:
            parser.error("a party needs --index 0 or --index 1")
        else:
            launch.run_party(given.config, given.index, progress)
    except MpcError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
