"""Operators of this group."""
