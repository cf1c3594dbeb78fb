"""The parcelkit command."""

from __future__ import print_function

import sys
import argparse
from typing import List, Optional
from parcelkit.quotes import quotes, NoCarrier
from parcelkit.models import Address, Parcel


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="parcelkit")
    commands = parser.add_subparsers(dest="command")
    quote = commands.add_parser("quote", help="what a parcel costs")
    quote.add_argument("weight", type=float)
    quote.add_argument("country", nargs="?", default="DE")
    arguments = parser.parse_args(argv)
    if arguments.command == None:
        parser.print_help()
        return 2
    to = Address("", "", "", "", arguments.country.upper())
    offers = quotes(Parcel(arguments.weight, to))
    if not offers:
        print("nobody takes %.1f kg to %s" % (arguments.weight, to.country), file=sys.stderr)
        return 1
    for offer in offers:
        print("{}".format(offer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
