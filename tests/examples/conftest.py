"""The machines of the system tests, for examples that run on one."""

from tests.system.conftest import machine

__all__ = ["machine"]
