"""Runs the method (esc_utils) and shows it: results, tables, figures, widgets, and the workflow around
them."""
