"""From pixels to the road: what a calibrated camera knows in metres."""
