"""The throttle of starts: a client sends little more than is accepted, and recovers at once."""

import random

from perdure.client.errors import ResourceExhaustedError
from perdure.client.throttle import FACTOR, PERIOD_S, StartThrottle


class Server:
    """A server that accepts so many starts in each period."""

    def __init__(self) -> None:
        self.throttle = StartThrottle()
        self.chance = random.Random(7)
        self.sent = self.accepted = 0

    def period(self, number: int, *, asked: int, room: int) -> None:
        self.sent = self.accepted = 0
        for index in range(asked):
            self._ask((number + index / asked) * PERIOD_S, room)

    def _ask(self, now_s: float, room: int) -> None:
        try:
            self.throttle.check(now_s, self.chance.random)
            self.sent += 1
            if self.accepted == room:
                raise refusal()
        except ResourceExhaustedError as error:
            self.throttle.refused(error, now_s)
        else:
            self.accepted += 1
            self.throttle.accepted(now_s)


def refusal() -> ResourceExhaustedError:
    error = ResourceExhaustedError("too much to do")
    error.retry_after_s = 1.0
    return error


def test_while_nothing_is_refused_everything_is_sent() -> None:
    server = Server()
    for number in range(3):
        server.period(number, asked=100, room=100)
        assert server.sent == 100


def test_of_three_times_too_many_starts_few_are_sent_in_vain_and_as_many_accepted() -> None:
    server = Server()
    for number in range(10):
        server.period(number, asked=3_000, room=1_000)
    assert server.accepted == 1_000
    assert server.sent <= 1.1 * FACTOR * 1_000


def test_when_all_are_accepted_again_all_are_sent() -> None:
    server = Server()
    for number in range(5):
        server.period(number, asked=300, room=0)
    assert server.sent <= 10
    for number in range(5, 20):
        server.period(number, asked=300, room=300)
    assert server.sent == 300
