"""Sinks: what becomes of the predictions, one file a kind."""
