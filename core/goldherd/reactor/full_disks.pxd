"""Writes that wait for space on a full disk: what a reactor does for them once a second."""

from goldherd.session.core cimport Core

# Reminds their initiators, tries one of each disk again, lets all go on when there is space, fails them after their time.
cdef void look_after_full_disks(Core* core) noexcept nogil
