"""Bytes in, Reply out; the same functions behind Flask and the hot routes."""
