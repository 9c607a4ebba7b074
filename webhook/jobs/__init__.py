"""The imperative shell: reads ports, calls the core, writes ports."""
