"""Runs that are kept: trained to a record, resumed where they were cut off, written whole or not at all."""
