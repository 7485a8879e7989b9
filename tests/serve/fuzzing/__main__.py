"""Inputs by the thousand for every dialect: `python -m tests.serve.fuzzing v2-http --count 100000`.

A fifth of them is made by hypothesis, of right requests and messages by what they mean; the others are right ones with
bytes changed, by atheris where that is installed (`pip install -e '.[fuzz]'`), which is ten times as fast. They pass
through the real front doors, dialects and dispatcher without sockets. Each must be answered, or refused as the client's
mistake, soon and in little memory; 501, 503 and 504 need a reason.
"""

from __future__ import annotations

import argparse
import sys
from typing import get_args

from tests.serve.fuzzing.tallies import Document, line, problems
from tests.serve.fuzzing.workers import Way, has_atheris, run_worker, work

SHARES: dict[Way, float] = {"structured": 0.2, "bytes": 0.8}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        "python -m tests.serve.fuzzing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dialects", nargs="*", help="one or several; all by default", metavar="DIALECT")
    parser.add_argument("--dialect", action="append", dest="more", default=[], help="the same", metavar="NAME")
    parser.add_argument("--count", type=int, default=100_000, help="inputs of each dialect")
    parser.add_argument("--start", type=int, default=1, help="seed: the same one gives the same inputs")
    parser.add_argument("--worker", choices=get_args(Way), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    dialects = [*arguments.dialects, *arguments.more] or _all()
    if arguments.worker:
        work(dialects, arguments.worker, arguments.count, arguments.start)
        return 0
    print(f"Bytes are changed by {'atheris' if has_atheris() else 'this package: atheris is not installed'}.")
    tallies = [
        _told(way, tally)
        for dialect in dialects
        for way, share in SHARES.items()
        for tally in run_worker([dialect], way, round(arguments.count * share), arguments.start)
    ]
    return 1 if any(map(problems, tallies)) else 0


def _all() -> list[str]:
    from tests.serve.fuzzing.dialects import DIALECTS

    return list(DIALECTS)


def _told(way: Way, tally: Document) -> Document:
    print(f"{tally['dialect']:15} {way:10} {line(tally)}", flush=True)
    for reason, shown in problems(tally).items():
        print(f"  FAILED {reason}\n         {shown}", flush=True)
    return tally


if __name__ == "__main__":
    sys.exit(main())
