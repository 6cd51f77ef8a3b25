"""Provenance of outputs: software, model, settings, and UTC besides the monotonic clock."""
