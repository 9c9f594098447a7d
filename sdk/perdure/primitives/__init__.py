"""Values that the rest of the SDK is built from: time, durations, chance, loggers, names."""
