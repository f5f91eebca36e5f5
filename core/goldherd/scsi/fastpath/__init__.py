"""What reactors read without Python: plain structs, inline functions, and the classes that own the structs."""
