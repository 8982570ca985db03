"""An alarm is told once when it begins and once when it ends; a latched one stays until somebody has looked."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.heat.alarms import MAX_ALARMS, Alarms


def test_an_alarm_is_news_once_and_gone_with_its_cause():
    alarms = Alarms()
    for second in range(3):
        alarms.set("meter", f"the meter is {second} s old", float(second))
    assert alarms.news() == [("meter", "the meter is 0 s old", True)]
    assert alarms.news() == []
    assert alarms.lines() == ("the meter is 2 s old",)
    alarms.set("meter", None, 4.0)
    alarms.set("meter", None, 5.0)
    assert alarms.news() == [("meter", "the meter is 2 s old", False)]
    assert alarms.lines() == ()


def test_a_latched_alarm_that_is_over_waits_to_be_acknowledged():
    alarms = Alarms()
    alarms.set("dry", "no flow", 0.0, is_latched=True)
    assert alarms.acknowledge() == []
    assert alarms.lines() == ("no flow",)
    alarms.set("dry", None, 1.0, is_latched=True)
    assert alarms.lines() == ("no flow (over; acknowledge it)",)
    assert alarms.acknowledge("other") == []
    assert alarms.acknowledge() == ["dry"]
    assert alarms.lines() == ()


def test_a_latched_alarm_that_comes_back_is_news_again():
    alarms = Alarms()
    for second, text in enumerate(("hot", None, "hotter")):
        alarms.set("hot", text, float(second), is_latched=True)
    assert [began for _, _, began in alarms.news()] == [True, False, True]
    assert alarms.lines() == ("hotter",)
    assert alarms.known["hot"].since_s == 2.0


def test_people_see_how_severe_and_how_old_an_alarm_is_and_whether_it_is_over():
    alarms = Alarms()
    alarms.set("masters", "two masters", 5.0, severity=1)
    alarms.set("dry", "no flow", 10.0, severity=3, is_latched=True)
    alarms.set("dry", None, 20.0, is_latched=True)
    assert [(view.text, view.severity, view.age_s, view.is_over) for view in alarms.views(30.0)] == [
        ("no flow", 3, 20.0, True),
        ("two masters", 1, 25.0, False),
    ]


def test_the_most_severe_is_named_first_then_the_oldest():
    alarms = Alarms()
    alarms.set("late", "late", 9.0, severity=3)
    alarms.set("mild", "mild", 0.0, severity=1)
    alarms.set("early", "early", 1.0, severity=3)
    assert alarms.lines() == ("early", "late", "mild")


def test_alarms_are_bounded():
    alarms = Alarms()
    for k in range(MAX_ALARMS + 10):
        alarms.set(f"a{k}", "text", 0.0)
    assert len(alarms.lines()) == len(alarms.news()) == MAX_ALARMS


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, "x", "y", "ack"]), st.booleans()), max_size=40))
def test_what_began_and_has_not_ended_is_what_stands(steps):
    alarms = Alarms()
    standing: set[str] = set()
    for second, (name, text, is_latched) in enumerate(steps):
        if text == "ack":
            alarms.acknowledge(name)
        else:
            alarms.set(name, text, float(second), is_latched=is_latched)
        for changed, _, began in alarms.news():
            assert began is (changed not in standing)
            standing ^= {changed}
        assert standing == {known for known, alarm in alarms.known.items() if alarm.is_standing}
