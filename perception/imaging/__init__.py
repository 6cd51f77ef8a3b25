"""Pictures as arrays: planes and colours, orientation, letterbox, polygons."""
