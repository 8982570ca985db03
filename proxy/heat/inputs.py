"""What reaches the site from outside besides demands and meters: outdoor temperature, import limits, stops, a manual limit.

Pure: times are arguments. Each value is kept by source and expires; stops and an operator's limit stand until they are taken back.
Who may send at all is the adapters' business, what outlives a restart is holds', what follows from it is arbitrate's and safety's.
"""

import math

import msgspec

from proxy.heat.guidance import Guidance

# Senders remembered of each kind; more is somebody making up names.
MAX_SOURCES = 16
LOWEST_OUTDOOR_C, HIGHEST_OUTDOOR_C = -60.0, 60.0
# Air does not warm or cool by more between two believable readings, unless they are far apart.
MAX_OUTDOOR_STEP_K = 15.0
OUTDOOR_STEP_S = 1_800.0


class Cap(msgspec.Struct, frozen=True, gc=False):
    """A cap on the whole site's electrical power (None: none) and what people call it."""

    power_w: float | None
    name: str


class _Outdoor(msgspec.Struct, frozen=True, gc=False):
    outdoor_c: float
    at_unix_s: float


class ImportLimit(msgspec.Struct, frozen=True, gc=False):
    """One source's cap on the site's electrical power, and when it ends."""

    power_w: float
    until_unix_s: float


class ManualLimit(msgspec.Struct, frozen=True, gc=False):
    """An operator's cap on the site's electrical power (0: nothing runs), whose it is and since when."""

    power_w: float
    who: str
    since_unix_s: float


class Inputs(msgspec.Struct):
    """The values as they stand. Setters answer None, or why they did not take a value."""

    outdoor: dict[str, _Outdoor] = {}
    import_limits: dict[str, ImportLimit] = {}
    # By source, since when.
    stops: dict[str, float] = {}
    manual: ManualLimit | None = None
    guidance: Guidance | None = None

    def set_outdoor(self, outdoor_c: float, source: str, now_unix_s: float) -> str | None:
        """Take an outdoor temperature."""
        if not math.isfinite(outdoor_c) or not LOWEST_OUTDOOR_C <= outdoor_c <= HIGHEST_OUTDOOR_C:
            return f"{outdoor_c} C is no outdoor temperature: send degrees Celsius, and nothing when it is unknown"
        known = self.outdoor.get(source)
        if known is None and len(self.outdoor) >= MAX_SOURCES:
            return f"{MAX_SOURCES} sources send outdoor temperatures already: send under one of their names"
        if known is not None and now_unix_s - known.at_unix_s < OUTDOOR_STEP_S:
            step_k = abs(outdoor_c - known.outdoor_c)
            if step_k > MAX_OUTDOOR_STEP_K:
                return f"it jumps by {step_k:.0f} K: check the sensor; it is believed after {OUTDOOR_STEP_S / 60:.0f} minutes"
        self.outdoor[source] = _Outdoor(outdoor_c, now_unix_s)
        return None

    def outdoor_at(self, now_unix_s: float, stale_s: float) -> tuple[float, float] | None:
        """The newest outdoor temperature and the moment it expires; None when all are stale."""
        newest = max(self.outdoor.values(), key=lambda known: known.at_unix_s, default=None)
        if newest is None or now_unix_s - newest.at_unix_s >= stale_s:
            return None
        return newest.outdoor_c, newest.at_unix_s + stale_s

    def set_import_limit(self, power_w: float | None, until_unix_s: float, source: str) -> str | None:
        """Take, change or take away (None) this source's cap on the site's electrical power."""
        if power_w is None:
            self.import_limits.pop(source, None)
            return None
        if not 0.0 <= power_w < math.inf or not math.isfinite(until_unix_s):
            return "a limit is 0 W or more, until a time: send finite numbers"
        if source not in self.import_limits and len(self.import_limits) >= MAX_SOURCES:
            return f"{MAX_SOURCES} sources limit the import already: send under one of their names"
        self.import_limits[source] = ImportLimit(power_w, until_unix_s)
        return None

    def set_stop(self, stop: bool, source: str, now_unix_s: float) -> bool:
        """Hold or release one source's emergency stop; True when that changed anything. A stop is never refused."""
        if stop == (source in self.stops):
            return False
        if stop:
            self.stops[source] = now_unix_s
        else:
            del self.stops[source]
        return True

    def stop_reason(self) -> str | None:
        """Why everything must sleep; None: nothing asks for it."""
        if self.stops:
            return f"emergency stop held by {', '.join(self.stops)}"
        return "stopped by an operator (limit of 0 W)" if self.manual is not None and self.manual.power_w == 0 else None

    def cap(self, site_cap_w: float | None, now_unix_s: float) -> Cap:
        """The lowest cap on the site's electrical power; 0 under a stop. A hand's limit is named first where several are equal."""
        self.import_limits = {name: known for name, known in self.import_limits.items() if now_unix_s < known.until_unix_s}
        if self.stops:
            return Cap(0.0, "emergency stop")
        caps = [(None if self.manual is None else self.manual.power_w, "manual limit")]
        caps += [(limit.power_w, f"import limit ({source})") for source, limit in self.import_limits.items()]
        caps.append((site_cap_w, "site cap"))
        known_caps = [(power_w, name) for power_w, name in caps if power_w is not None]
        power_w, name = min(known_caps, key=lambda cap: cap[0], default=(None, "site cap"))
        return Cap(power_w, name)

    def guidance_at(self, now_unix_s: float) -> Guidance | None:
        """The planner's word, while it is valid."""
        return self.guidance if self.guidance is not None and self.guidance.is_valid_at(now_unix_s) else None
