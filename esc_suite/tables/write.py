"""The commands that write tables and claims: `python -m esc_suite tables | claims [--profile P] [--outputs
DIR]`."""

import argparse

from esc_suite.run.together import exit_with
from esc_suite.tables.render import write
from esc_suite.tables.rows import BEYOND, NAMES
from esc_utils import paths
from esc_utils.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """All tables and the claims, or the tables that are named."""
    parser = argparse.ArgumentParser(prog="python -m esc_suite tables", description=main.__doc__)
    add_places(parser)
    parser.add_argument(
        "--tables", nargs="+", metavar="N", help="which tables (default: 1 to 5, and claims.json)"
    )
    args = parser.parse_args(argv)
    chosen = [f"table{number.removeprefix('table')}" for number in args.tables or "12345"]
    return write_and_print(args, chosen, with_claims=args.tables is None)


def claims(argv: list[str] | None = None) -> int:
    """claims.json alone."""
    parser = argparse.ArgumentParser(prog="python -m esc_suite claims", description=claims.__doc__)
    add_places(parser)
    return write_and_print(parser.parse_args(argv), [], with_claims=True)


def add_places(parser: argparse.ArgumentParser) -> None:
    """The two options that say where runs are read and tables are written."""
    parser.add_argument("--outputs", default="", metavar="DIR", help="where the runs are (default: outputs/)")
    parser.add_argument("--profile", default="quick", help="a file of params/profiles/ (default: quick)")


def write_and_print(args: argparse.Namespace, names, with_claims: bool) -> int:
    """Write tables and print their paths."""
    with exit_with():
        unknown = [name for name in names if name not in (*NAMES, *BEYOND)]
        if unknown:
            raise UserError(f"no such table: {unknown[0].removeprefix('table')}; choose from 1 2 3 4 5 6 7")
        for path in write(paths.place(args.outputs or "outputs"), args.profile, names, with_claims):
            print(path)
    return 0
