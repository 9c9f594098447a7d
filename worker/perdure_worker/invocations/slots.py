"""Slots of a worker, and the credits that promise them to the server.

Must stay true: promised + in use ≤ total. So a slot is promised once, and a handler whose
invocation is lost keeps its slot until its thread really ends. Ends that the server has not
confirmed yet may pile up to `total`; beyond that each of them holds a slot back, or a server that
is slow to record would hand out more and more.
"""


class Slots:
    """The ledger of slots and credits."""

    def __init__(self, total: int) -> None:
        assert total > 0
        self.total = total
        self.promised = 0
        self.in_use = 0
        self.unconfirmed = 0

    def take_credit(self) -> int:
        """Promise every slot that is free and not promised; return how many."""
        held = max(0, self.unconfirmed - self.total)
        credit = max(0, self.total - self.in_use - self.promised - held)
        self.promised += credit
        return credit

    def occupy(self) -> bool:
        """Fill a promised slot; False when nothing was promised."""
        if self.promised == 0:
            return False
        self.promised -= 1
        self.in_use += 1
        return True

    def release(self) -> None:
        """Empty a slot: its handler's thread has ended."""
        assert self.in_use > 0
        self.in_use -= 1

    def forget_promises(self) -> None:
        """Note that the stream broke: what was promised on it will not be asked for."""
        self.promised = 0
