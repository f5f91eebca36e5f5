"""The life of a running server: how it takes other settings and ends, and what it notices of its nodes meanwhile."""
