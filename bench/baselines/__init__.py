"""What others would run in our place, each as its own users write it."""
