"""Durable files: locks, files that are whole or not there, copies that keep holes.

Knows no image format and no catalog.
"""
