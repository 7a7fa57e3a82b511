"""Regression gate: has a workload become slower, against plain Python loops, than a stored baseline allows?

    subjects --> measuring (time, as a ratio to a yardstick) ----+
        |                                                        +--> verdicts --> Report --> table, JSON, picture
        +------> instructions (callgrind, where it is there) ----+       ^
                                                                         |
                                 baseline file: rows with tolerances that were learnt, the reason, the place

``running`` puts them together; ``command`` is what ``cascade gate`` and ``ci/gate.py`` share.

A time row is the ratio of a subject's units per second to the steps per second of its yardstick, both measured in
this process, in turn, with the median of the rounds. So the speed of the machine cancels out, but not its character:
a baseline names the place where it holds. An instruction row is a count for each unit, which no neighbour can change.

Nothing is imported here: ``import cascade`` and ``cascade run`` do without any of it.
"""
