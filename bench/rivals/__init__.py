"""What the terminal is measured against: other ways to do the same work, each as good as its kind allows."""
