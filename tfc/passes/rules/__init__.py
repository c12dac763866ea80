"""The rewrites of `canonicalize`, by what they rewrite. Each keeps every value.

The right side is never worse than the left, and every rule moves toward one normal form:
constants stand to the right, a chain of data movement becomes one movement.
"""
