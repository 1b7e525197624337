"""Which plugins there are and who serves what. Begin with `manager.py`.

No configuration is read here, and no stage is run.
"""
