"""The rivals of the fan-out: other ways to do the same work, each as good as its kind allows."""
