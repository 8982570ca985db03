"""Standing alarms of heat control: raised with cause and remedy, cleared with the cause, where latched only acknowledged.

Pure. It moves no unit and tells nobody: control publishes what `news` returns, adapters send what `lines` returns.
"""

import msgspec

from proxy.views import AlarmView

# Alarms kept at a time; each has a name of ours, so only a bug could pass this.
MAX_ALARMS = 256


class Alarm(msgspec.Struct):
    """One alarm. `severity` counts down from 3 (heat or safety at stake); `is_standing` False: it is over, but not acknowledged."""

    text: str
    severity: int
    since_s: float
    is_latched: bool
    is_standing: bool = True


class Alarms(msgspec.Struct):
    """By name; what began and ended since the last `news`."""

    known: dict[str, Alarm] = {}
    changed: list[tuple[str, str, bool]] = []

    def set(self, name: str, text: str | None, now_s: float, *, severity: int = 2, is_latched: bool = False) -> None:
        """Raise (or keep) the alarm `name`, or clear it with None."""
        alarm = self.known.get(name)
        if text is None:
            if alarm is not None and alarm.is_standing:
                self.changed.append((name, alarm.text, False))
                alarm.is_standing = False
                if not alarm.is_latched:
                    del self.known[name]
            return
        if alarm is None:
            if len(self.known) >= MAX_ALARMS:
                return
            self.known[name] = Alarm(text, severity, now_s, is_latched)
        elif not alarm.is_standing:
            alarm.text, alarm.since_s, alarm.is_standing = text, now_s, True
        else:
            alarm.text = text
            return
        self.changed.append((name, text, True))

    def acknowledge(self, name: str | None = None) -> list[str]:
        """Forget latched alarms that are over (None: all of them); what still stands stays. The names that were forgotten."""
        over = [known for known, alarm in self.known.items() if not alarm.is_standing and name in (None, known)]
        for known in over:
            del self.known[known]
        return over

    def news(self) -> list[tuple[str, str, bool]]:
        """Name, text, and whether it began (True) or ended, since the last call."""
        changed, self.changed = self.changed, []
        return changed

    def lines(self) -> tuple[str, ...]:
        """For people and for the utility, most severe first, then oldest."""
        return tuple(alarm.text if alarm.is_standing else f"{alarm.text} (over; acknowledge it)" for alarm in self._ordered())

    def views(self, now_s: float) -> list[AlarmView]:
        """The same alarms, with what else is known of them."""
        return [
            AlarmView(alarm.text, alarm.severity, max(0.0, now_s - alarm.since_s), is_over=not alarm.is_standing)
            for alarm in self._ordered()
        ]

    def _ordered(self) -> list[Alarm]:
        return sorted(self.known.values(), key=lambda alarm: (-alarm.severity, alarm.since_s))
