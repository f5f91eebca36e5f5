"""The life of a running server: how it ends, and what it notices of its nodes meanwhile."""
