"""Live sources in processes of their own: what hangs or crashes there is killed and replaced."""
