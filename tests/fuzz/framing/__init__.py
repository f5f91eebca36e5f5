"""The fuzzer of the compiled data plane; begin with language.py, which says what an input is."""
