"""The benchmarks: every budget of the terminal, measured against its baseline in one run. `python -m bench`.

Each experiment starts real processes on loopback and measures all contenders one after another, again in each repeat; a
row of the table is one figure of an experiment, compared with a baseline of the same repeat. Differences between
machines cancel out in such a ratio. Nothing here is imported by the terminal.
"""
