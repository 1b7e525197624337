"""What passes between stages and through a run: data, picture, context, events, jobs, settings, configuration.

Frozen and validated where it is made. Nothing here computes a stage or calls a plugin. Begin with `data.py`.
"""
