"""What finished runs say: intervals, audits of pseudo-labels, paired comparisons."""
