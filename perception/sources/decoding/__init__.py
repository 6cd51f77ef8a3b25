"""From containers and image files to pictures, and whether they are whole."""
