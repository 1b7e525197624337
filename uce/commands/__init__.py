"""The command line, one file per command: parse, call the public interface, print. No logic.

Begin with `app.py`, which puts the commands together; shared flags are in `options.py`. What is shown lives in
`uce.terminal`.
"""
