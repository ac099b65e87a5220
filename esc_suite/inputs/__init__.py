"""Any recordings as a dataset. The suite takes `open_dataset` from here, and with it the reader of
`dataset: table`."""

from esc_suite.inputs.table import open_table
from esc_utils.urbansound import READERS
from esc_utils.urbansound import open_dataset as open_dataset

READERS["table"] = open_table
