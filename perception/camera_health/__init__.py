"""Camera health: statistics of the camera's pictures, and the state that follows from them."""
