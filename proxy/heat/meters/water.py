"""Water in a heat meter: how much energy it carries and how heavy it is. Pure; plain water, no glycol."""

WATER_J_PER_KG_K = 4_186.0
# Where a meter does not say how warm the water at its flow sensor is.
TYPICAL_RETURN_C = 45.0


def density_kg_per_l(temperature_c: float) -> float:
    """Density of water from 0 to 100 degrees Celsius, within 0.1 %."""
    return (1_001.0 - 0.08 * temperature_c - 0.0036 * temperature_c * temperature_c) / 1_000.0


def mass_flow_kg_s(flow_l_per_h: float, sensor_c: float | None) -> float:
    """Volume flow as a meter shows it, as mass. Flow sensors sit in the return, so that is the temperature to give."""
    return flow_l_per_h / 3_600.0 * density_kg_per_l(TYPICAL_RETURN_C if sensor_c is None else sensor_c)


def volume_flow_l_per_min(flow_kg_s: float, sensor_c: float | None) -> float:
    """The way back: what a pump's data sheet speaks of."""
    return flow_kg_s * 60.0 / density_kg_per_l(TYPICAL_RETURN_C if sensor_c is None else sensor_c)


def heat_carried_w(flow_kg_s: float, supply_c: float, return_c: float) -> float:
    """Heat that a flow gives off between two temperatures; negative when the return is warmer."""
    return flow_kg_s * WATER_J_PER_KG_K * (supply_c - return_c)
