"""The part of SCSI that reactors read without Python: plain structs, inline functions, and their owners."""
