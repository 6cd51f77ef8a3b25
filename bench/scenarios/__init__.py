"""What can be measured of a model file on an engine; one module each."""
