"""docs/numerics.md in NumPy: what every integer kernel computes, to the bit. Slow, and free of cleverness.

One function per operator of the same name: arrays for its inputs, keywords for its attributes.
"""
