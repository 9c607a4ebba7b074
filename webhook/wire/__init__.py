"""Typed parsing and encoding of foreign and own formats; no I/O."""
