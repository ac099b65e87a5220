"""Sound classification with PANN CNN14 and FixMatch on UrbanSound8K: the method behind the notebooks."""

__version__ = "0.1.0"
