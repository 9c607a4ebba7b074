"""Pure decisions: values in, values out. No clock, no environment, no log, no network."""
