"""What stands in for UrbanSound8K and for PANN's weights: synthesised sounds, mn04. The method does not need
it."""
