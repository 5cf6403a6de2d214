"""Floods by one client against a real process: what healthy viewers and health checks notice of them."""
