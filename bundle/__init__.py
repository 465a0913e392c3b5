"""The stage that will pack a variant for a device; empty so far."""
