"""The market itself, pure: values in, values out. No clock, no event loop, no log, no network."""
