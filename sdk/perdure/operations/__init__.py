"""The rules of each operation, as generators of effects. No I/O, no threads, no clock."""
