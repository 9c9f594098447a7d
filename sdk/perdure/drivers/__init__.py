"""Drivers perform the effects of operations: one blocks a thread, the other runs on asyncio."""
