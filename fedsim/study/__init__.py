"""Studies: many runs of one scenario, each run once, whatever interrupts them."""
