"""Dictionaries for a model, from text: what they are trained on, how, and what it takes."""
