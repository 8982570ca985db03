"""What the page is told of the ways a utility can ask."""

import msgspec

from proxy import config
from proxy.config import SiteConfig
from proxy.events import EventLog
from proxy.heat.demand import DemandAccepted, DemandRefused
from proxy.heat.signals.board import SignalBoard
from proxy.heat.signals.status import SignalStatus
from tests.support.signal_port import RecordingPort

NOW = 1_768_435_200.0
SITE = SiteConfig(
    site=config.Site(name="hall"),
    pools=[config.Pool(name="p", url="stratum+tcp://127.0.0.1:1", user="u")],
    units=[config.Unit(id="u1", model="m", loop="a", address="127.0.0.1")],
)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return NOW + self.now_s


def board_of(site: SiteConfig, clock: Clock) -> SignalBoard:
    return SignalBoard(site, RecordingPort(), EventLog(clock.wall), clock=clock, wall_clock=clock.wall)


def taken(power_w: float = 1e6, until_s: float = 60.0) -> DemandAccepted:
    return DemandAccepted("utility", 0, 7, power_w, NOW, NOW + until_s, "live")


def test_a_demand_by_rest_makes_its_sender_there_until_it_ends() -> None:
    clock = Clock()
    board = board_of(SITE, clock)
    board.note_rest(taken())
    clock.now_s = 20.0
    (rest,) = (view for view in board.views() if view.name == "rest")
    assert (rest.connected, rest.reason, rest.message_age_s) == (True, None, 20.0)
    assert (rest.source, rest.sequence, rest.asked_w, rest.asked_until_unix_s) == ("utility", 7, 1e6, NOW + 60)
    clock.now_s = 61.0
    (rest,) = (view for view in board.views() if view.name == "rest")
    assert (rest.connected, rest.reason) == (False, "the last demand is over")


def test_a_refused_demand_is_counted_and_changes_nothing_of_what_is_asked() -> None:
    board = board_of(SITE, Clock())
    board.note_rest(taken())
    board.note_rest(DemandRefused(409, "the sequence number is old", "count on"))
    (rest,) = (view for view in board.views() if view.name == "rest")
    assert (rest.accepted, rest.refused, rest.asked_w) == (1, 1, 1e6)
    assert rest.last_refusal == "the sequence number is old"


def test_rest_that_nobody_used_is_shown_only_where_nothing_else_is_configured() -> None:
    clock = Clock()
    other = config.Signals(mqtt=config.MqttSignal(broker="mqtt://127.0.0.1:1"))
    alone = board_of(msgspec.structs.replace(SITE, signals=config.Signals()), clock)
    assert [(view.name, view.connected, view.reason) for view in alone.views()] == [("rest", False, "nobody has asked yet")]
    assert [view.name for view in board_of(msgspec.structs.replace(SITE, signals=other), clock).views()] == ["mqtt"]
    off = config.Signals(rest=config.RestSignal(enabled=False))
    assert board_of(msgspec.structs.replace(SITE, signals=off), clock).views() == []


def test_a_status_says_what_was_asked_last_and_whether_the_alive_counter_moves() -> None:
    status = SignalStatus("modbus", "0.0.0.0:502", EventLog(lambda: NOW), Clock())
    assert (status.view().source, status.view().is_alive) == (None, None)
    status.asked(taken())
    status.alive(True)
    assert (status.view().asked_w, status.view().is_alive) == (1e6, True)
