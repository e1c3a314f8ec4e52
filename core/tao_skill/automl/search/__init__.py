"""The search: trials, samplers, promotion and the verdict, independent of where trials train."""
