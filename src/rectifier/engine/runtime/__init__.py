"""Compiled to machine code by `engine.compiler.subset`; never runs as Python."""
