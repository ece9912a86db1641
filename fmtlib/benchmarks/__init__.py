"""Benchmarks: the kernels beside a copy of the same array and beside other packages.

- `tasks` is the list of benchmarks; a new one is one entry there.
- `peers` is the list of other packages; each says which of the tasks it does, and how.
- `timing` runs contestants round after round.
- `runner` runs tasks and makes the record of it; `machine` says on what.
- `results` saves, loads and compares records; `report` shows them as tables and a plot.
- `command` is ``fmtlib bench``.

``pytest bench`` is another front end of the same list.
"""
