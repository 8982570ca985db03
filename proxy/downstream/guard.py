"""Who may connect, and how much nonsense one address may cost us. Pure: `now_s` is an argument.

Each address has a cost that decays: connections, refused shares and broken lines add to it. Above the hard limit new
connections from there are refused for a while. A hall behind one NAT address is normal, so limits are for abuse, not for size.
"""

import ipaddress

import msgspec

# Cost decays with this time constant; units are "one connection attempt".
DECAY_S = 60.0
HARD_LIMIT = 6_000.0
# Where one address may hold more connections (a hall behind NAT), it may also reconnect with all of them, so many times in a row.
RECONNECTS = 4.0
COST_CONNECTION = 1.0
COST_BROKEN_LINE = 50.0
COST_REFUSED_SHARE = 0.5
MAX_ADDRESSES = 100_000


class _Account(msgspec.Struct):
    connections: int = 0
    cost: float = 0.0
    at_s: float = 0.0


class Guard:
    """Admission by global and per-address limits."""

    def __init__(self, max_connections: int, max_per_address: int, trusted_proxies: list[str]) -> None:
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._hard_limit = max(HARD_LIMIT, RECONNECTS * max_per_address)
        self._trusted = [ipaddress.ip_network(network, strict=False) for network in trusted_proxies]
        self._accounts: dict[str, _Account] = {}
        self.connections = 0
        self.refused = 0

    def admit(self, address: str, now_s: float, *, is_balancer: bool = False) -> str | None:
        """Count one connection from `address`. A text: refused, and why.

        `is_balancer`: a trusted one, who stands for everybody behind it. The limits of an address are for the miner's own, which
        comes with the PROXY header.
        """
        account = self._account(address, now_s)
        if self.connections >= self._max_connections:
            return self._refuse("the site has as many connections as listen.max_connections allows")
        if not is_balancer:
            account.cost += COST_CONNECTION
            if account.connections >= self._max_per_address:
                return self._refuse("this address has as many connections as listen.max_connections_per_address allows")
            if account.cost > self._hard_limit:
                return self._refuse("this address sent too much nonsense lately")
        account.connections += 1
        self.connections += 1
        return None

    def leave(self, address: str, now_s: float) -> None:
        """One connection from `address` is gone."""
        account = self._account(address, now_s)
        account.connections = max(0, account.connections - 1)
        self.connections = max(0, self.connections - 1)
        if account.connections == 0 and account.cost < 1.0:
            del self._accounts[address]

    def charge(self, address: str, cost: float, now_s: float) -> bool:
        """Add to the address's cost; False when it is over the limit."""
        account = self._account(address, now_s)
        account.cost += cost
        return account.cost <= self._hard_limit

    def trusts_proxy(self, address: str) -> bool:
        """May this peer tell us another address by the PROXY protocol?"""
        ip = ipaddress.ip_address(address)
        return not self._trusted or any(ip in network for network in self._trusted)

    def _refuse(self, reason: str) -> str:
        self.refused += 1
        return reason

    def _account(self, address: str, now_s: float) -> _Account:
        account = self._accounts.get(address)
        if account is None:
            if len(self._accounts) >= MAX_ADDRESSES:
                self._forget_idle()
            account = self._accounts[address] = _Account(at_s=now_s)
        elapsed_s = max(0.0, now_s - account.at_s)
        account.cost *= max(0.0, 1.0 - elapsed_s / DECAY_S) if elapsed_s < DECAY_S else 0.0
        account.at_s = now_s
        return account

    def _forget_idle(self) -> None:
        self._accounts = {address: account for address, account in self._accounts.items() if account.connections}
