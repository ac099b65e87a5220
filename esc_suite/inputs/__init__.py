"""What goes into a run: parameter files as a RunConfig, and any recordings as a dataset.

Whoever makes a RunConfig (params.py) imports this package, and with it the reader of `dataset: table`."""

from esc_suite.inputs.table import open_table
from esc_utils.urbansound import READERS

READERS["table"] = open_table
