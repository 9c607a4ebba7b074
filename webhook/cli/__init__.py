"""One file per command group; prints, never decides."""
