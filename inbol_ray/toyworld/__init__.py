"""A rendered world, small enough to train a LLaVA on two cores, written in the official formats of real corpora.

Scenes are 3 x 3 grids of coloured shapes, graded in difficulty, with at most one `creature`: a glyph that has a name, a
home and a food, drawn from a long tail, so that some facts are common and most are rare.
"""
