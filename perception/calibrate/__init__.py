"""`drivable-calibrate`: a camera's intrinsics from pictures of a board, and its mount."""
