"""Your own recordings: which labels to trust, labels for the clips that have none, and finished runs on new
audio."""
