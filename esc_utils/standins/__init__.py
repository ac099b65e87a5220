"""What stands in for UrbanSound8K and for PANN's weights: synthesised sounds, mn04. A reader of the
method may skip it."""
