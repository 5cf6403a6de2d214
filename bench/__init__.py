"""The benchmarks: every budget of the terminal, measured beside its yardstick in one run. `python -m bench`.

Each experiment starts real processes on loopback and measures all contenders one after another, again in each
repeat; a row of the table is one figure of an experiment, held against a yardstick of the same repeat. What machines
differ in goes out of a ratio that way. Nothing here is imported by the terminal.
"""
