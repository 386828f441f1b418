"""From files and flags to an `ExperimentArgs`: reading, checking, help and hints. Imports no torch."""
