"""Sources of market events: the live exchange, or a recording played back."""
