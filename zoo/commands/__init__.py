"""What is typed: ``zoo <command>``, or in a checkout ``python train.py`` and ``python scripts/<command>.py``.

A module here is a command, called by its name, with ``main()``; the first line of its docstring says what it does, and
the docstring is its ``--help``.
"""
