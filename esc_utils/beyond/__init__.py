"""Beyond the paper: thresholds that follow each class (Table 6), unknown sounds in the pool (Table 7). A
reader of the paper's method may skip it."""
