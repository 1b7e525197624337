"""The backbone's face and what is read from a model: attention, latents, features, words.

No stage and no training lives here. Begin with `backbone.py`, the face that every model shows.
"""
