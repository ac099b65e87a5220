"""The paper's tables and claims, rebuilt from records."""
