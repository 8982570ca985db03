"""From heat demand to power levels: who rules, how much power that is, which unit carries it, and what must never happen."""
