"""Signatures of loop.pyx; the contracts stand there."""

from goldherd.reactor.control import ReactorControl

class Loop(ReactorControl):
    """What a reactor does in one step; not used by itself."""
