"""The courtyard: the market itself, pure. No clock, no loop, no log, no network."""
