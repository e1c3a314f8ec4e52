"""The Lightning module, callbacks, checkpoints and devices."""
