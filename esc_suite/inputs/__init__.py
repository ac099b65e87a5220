"""Any recordings as a dataset: importing this package makes the reader of `dataset: table` known, for
`train.run`, too. notebook.py does so for notebooks, and the suite takes `open_dataset` from here."""

from esc_suite.inputs.table import open_table
from esc_utils.urbansound import READERS
from esc_utils.urbansound import open_dataset as open_dataset

READERS["table"] = open_table
