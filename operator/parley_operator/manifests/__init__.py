"""The objects that are made of an Agent: pure functions from values to plain dicts.

meta → pod → deployment · sharing (what all versions of an agent have in common)
"""
