"""What a server of ours is to its miners: a static key, the certificate in force, and perhaps the authority key that renews it.

The authority's secret may be kept elsewhere: then certificates are signed there and brought here by `adopt`. It does NOT read files
or clocks; `refresh` is to be called about once a minute, far more often than any certificate runs out.
"""

from typing import Final

from protocol.v2 import certificate
from protocol.v2.certificate import Certificate
from protocol.v2.keys import AuthorityKey, NoiseKey, Rng

# A stolen static key serves a thief for so long; renewal comes after two thirds of it, which leaves days to notice a failure.
DEFAULT_LIFE_S: Final = 7 * 86_400


class ServerIdentity:
    """Mutable: the certificate changes, the static key and the authority do not."""

    __slots__ = ("_authority", "_life_s", "_rng", "_static_x", "_wire", "authority_x", "certificate", "static")

    def __init__(
        self,
        static: NoiseKey,
        authority: AuthorityKey | bytes,
        signed: Certificate,
        rng: Rng,
        now_unix_s: float,
        life_s: int = DEFAULT_LIFE_S,
    ) -> None:
        """authority: the pair that renews, or only its x-only key (then `refresh` does nothing).

        Raises ValueError, naming the fault, when `signed` does not prove this static key now.
        """
        self.static = static
        self._static_x = static.public_x
        self._authority = authority if isinstance(authority, AuthorityKey) else None
        self.authority_x = authority.public_x if isinstance(authority, AuthorityKey) else authority
        self._rng = rng
        self._life_s = life_s
        self.adopt(signed, now_unix_s)

    @classmethod
    def self_signed(
        cls, static: NoiseKey, authority: AuthorityKey, rng: Rng, now_unix_s: float, life_s: int = DEFAULT_LIFE_S
    ) -> "ServerIdentity":
        """An identity whose first certificate is issued now. Raises LocalProtocolError when `life_s` leaves no validity."""
        signed = certificate.issue(authority, static.public_x, now_unix_s, life_s, rng)
        return cls(static, authority, signed, rng, now_unix_s, life_s)

    def certificate_wire(self) -> bytes:
        """The 74 bytes in force; hand this method to `noise.Responder`."""
        return self._wire

    def adopt(self, signed: Certificate, now_unix_s: float) -> None:
        """Use a certificate signed elsewhere. Raises ValueError, and keeps the old one, when it does not prove our key now."""
        fault = certificate.check(signed, self._static_x, self.authority_x, now_unix_s, versions={signed.version}, leeway_s=0)
        if fault is not None:
            raise ValueError(f"certificate: {fault.value}")
        self.certificate = signed
        self._wire = certificate.encode(signed)

    def refresh(self, now_unix_s: float) -> bool:
        """Renew when it is due and the authority's secret is here; True when there is a new certificate."""
        if self._authority is None or not certificate.is_renewal_due(self.certificate, now_unix_s):
            return False
        self.adopt(certificate.issue(self._authority, self._static_x, now_unix_s, self._life_s, self._rng), now_unix_s)
        return True

    def seconds_to_expiry(self, now_unix_s: float) -> float:
        """Below zero: miners that look at the time refuse us since then."""
        return certificate.seconds_to_expiry(self.certificate, now_unix_s)
