"""Whether the camera has a view of the road: statistics of its pictures, and what follows from them."""
