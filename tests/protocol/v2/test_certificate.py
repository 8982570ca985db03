"""Certificates: layout, what is signed, the window, renewal, and the identity that carries them."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError
from protocol.v2 import certificate, secp256k1
from protocol.v2.certificate import BACKDATED_S, Certificate, Fault
from protocol.v2.identity import DEFAULT_LIFE_S, ServerIdentity
from protocol.v2.keys import new_noise_key
from tests.support.noise_pair import AUTHORITY, LIFE_S, NOW, OTHER_AUTHORITY, counting_rng, identity

STATIC = new_noise_key(counting_rng("static"))
X = STATIC.public_x
SIGNED = certificate.issue(AUTHORITY, X, NOW, LIFE_S, counting_rng("sign"))


def fault(
    signed: Certificate, now_unix_s: float = NOW, static_x: bytes = X, authority_x: bytes = AUTHORITY.public_x
) -> Fault | None:
    return certificate.check(signed, static_x, authority_x, now_unix_s)


def test_the_74_bytes_are_little_endian_and_the_signature_is_over_ten_of_them_and_the_static_x() -> None:
    wire = certificate.encode(SIGNED)
    assert certificate.SIZE == len(wire) == 74
    fields = b"\x00\x00" + (NOW - 3600).to_bytes(4, "little") + (NOW + LIFE_S).to_bytes(4, "little")
    assert wire[:10] == fields
    assert secp256k1.verify(AUTHORITY.public_x, hashlib.sha256(fields + X).digest(), wire[10:])
    assert certificate.decode(wire) == SIGNED


@given(st.binary(min_size=74, max_size=74))
def test_any_74_bytes_are_a_certificate_that_encodes_to_itself_and_proves_nothing(wire: bytes) -> None:
    signed = certificate.decode(wire)
    assert certificate.encode(signed) == wire
    assert fault(signed) in (Fault.VERSION, Fault.OTHER_KEY)


@pytest.mark.parametrize("size", [0, 73, 75])
def test_another_size_is_our_own_mistake(size: int) -> None:
    with pytest.raises(LocalProtocolError, match="74 bytes"):
        certificate.decode(bytes(size))


def test_a_good_certificate_has_no_fault() -> None:
    assert fault(SIGNED) is None
    assert fault(SIGNED, NOW - BACKDATED_S) is None, "a clock an hour behind is no reason to refuse"


def test_every_signed_bit_counts() -> None:
    wire = certificate.encode(SIGNED)
    for offset in range(74):
        for bit in range(8):
            changed = bytearray(wire)
            changed[offset] ^= 1 << bit
            expected = Fault.VERSION if offset < 2 else Fault.OTHER_KEY
            assert fault(certificate.decode(bytes(changed))) is expected


def test_another_static_key_or_another_authority_is_another_key() -> None:
    assert fault(SIGNED, static_x=OTHER_AUTHORITY.public_x) is Fault.OTHER_KEY
    assert fault(SIGNED, authority_x=OTHER_AUTHORITY.public_x) is Fault.OTHER_KEY
    assert fault(SIGNED, authority_x=bytes(32)) is Fault.OTHER_KEY, "no key at all"


def test_dates_that_the_authority_did_not_sign_are_not_reported_as_dates() -> None:
    forged = msgspec.structs.replace(SIGNED, not_valid_after_unix_s=NOW - 5)
    assert fault(forged) is Fault.OTHER_KEY


@pytest.mark.parametrize(
    ("now_unix_s", "expected"),
    [
        (NOW - 3610.5, Fault.NOT_YET_VALID),
        (NOW - 3610, None),
        (NOW + LIFE_S + 10, None),
        (NOW + LIFE_S + 10.5, Fault.EXPIRED),
    ],
)
def test_the_ends_of_the_window_belong_to_it(now_unix_s: float, expected: Fault | None) -> None:
    assert fault(SIGNED, now_unix_s) is expected


def test_a_window_the_wrong_way_round_is_never_valid() -> None:
    fields = b"\x00\x00" + (NOW + 100).to_bytes(4, "little") + (NOW - 100).to_bytes(4, "little")
    wire = fields + secp256k1.sign(AUTHORITY.secret, hashlib.sha256(fields + X).digest(), bytes(32))
    signed = certificate.decode(wire)
    assert signed.life_s == -200
    assert {fault(signed, NOW + second) for second in range(-150, 150, 10)} == {Fault.NOT_YET_VALID, Fault.EXPIRED}


def test_versions_are_signed_too_and_allowed_one_by_one() -> None:
    signed = certificate.issue(AUTHORITY, X, NOW, LIFE_S, counting_rng("sign"), version=1)
    assert fault(signed) is Fault.VERSION
    assert certificate.check(signed, X, AUTHORITY.public_x, NOW, versions={1}) is None


# ---- issuing


def test_a_clock_that_starts_at_zero_issues_from_zero() -> None:
    signed = certificate.issue(AUTHORITY, X, 10.9, LIFE_S, counting_rng("sign"))
    assert (signed.valid_from_unix_s, signed.not_valid_after_unix_s) == (0, 10 + LIFE_S)


def test_a_certificate_ends_where_its_field_ends() -> None:
    signed = certificate.issue(AUTHORITY, X, 2**32 - 100, LIFE_S, counting_rng("sign"))
    assert signed.not_valid_after_unix_s == 2**32 - 1


@pytest.mark.parametrize(("now_unix_s", "life_s"), [(NOW, 0), (NOW, -5), (2**32 + 3600, LIFE_S), (-10_000, 60)])
def test_a_certificate_that_would_never_be_valid_is_not_issued(now_unix_s: float, life_s: int) -> None:
    with pytest.raises(LocalProtocolError, match="would never be valid"):
        certificate.issue(AUTHORITY, X, now_unix_s, life_s, counting_rng("sign"))


# ---- renewal


def test_renewal_is_due_when_less_than_a_third_of_the_life_is_left() -> None:
    third = (LIFE_S + BACKDATED_S) / 3
    end = NOW + LIFE_S
    assert not certificate.is_renewal_due(SIGNED, end - third)
    assert certificate.is_renewal_due(SIGNED, end - third + 1)
    assert certificate.is_renewal_due(SIGNED, end + 1)
    assert certificate.seconds_to_expiry(SIGNED, end - 5) == 5
    assert certificate.seconds_to_expiry(SIGNED, end + 5) == -5


def test_renewal_is_due_when_the_clock_was_put_back_before_the_certificate() -> None:
    assert not certificate.is_renewal_due(SIGNED, NOW - BACKDATED_S)
    assert certificate.is_renewal_due(SIGNED, NOW - BACKDATED_S - 1)


@given(st.integers(3, 10 * 365 * 86_400), st.floats(0, 0.6))
def test_a_fresh_certificate_is_not_renewed_at_once(life_s: int, passed: float) -> None:
    signed = Certificate(0, NOW - BACKDATED_S, NOW + life_s, bytes(64))
    if life_s >= 2 * BACKDATED_S:
        assert not certificate.is_renewal_due(signed, NOW)
    assert certificate.is_renewal_due(signed, NOW + life_s * (1 - passed / 3) + 1)


# ---- identity


def test_an_identity_renews_itself_for_ever_and_its_certificate_always_proves_it() -> None:
    server = identity()
    renewals = 0
    for now in range(NOW, NOW + 20 * LIFE_S, LIFE_S // 24):
        renewals += server.refresh(now)
        signed = certificate.decode(server.certificate_wire())
        assert signed == server.certificate
        assert fault(signed, now) is None
        assert server.seconds_to_expiry(now) > LIFE_S / 4
    assert 20 <= renewals <= 40


def test_a_clock_that_jumps_either_way_is_followed_at_the_next_refresh() -> None:
    server = identity()
    for now in (NOW + 10 * LIFE_S, NOW - 10 * LIFE_S, NOW):
        assert server.refresh(now)
        assert fault(server.certificate, now) is None
        assert not server.refresh(now)


def test_without_the_authoritys_secret_a_certificate_is_adopted_and_never_renewed_here() -> None:
    server = ServerIdentity(STATIC, AUTHORITY.public_x, SIGNED, counting_rng("sign"), NOW)
    assert not server.refresh(NOW + LIFE_S)
    assert server.seconds_to_expiry(NOW + LIFE_S + 60) == -60
    renewed = certificate.issue(AUTHORITY, X, NOW + LIFE_S, LIFE_S, counting_rng("elsewhere"), version=1)
    server.adopt(renewed, NOW + LIFE_S)
    assert server.certificate_wire() == certificate.encode(renewed)


@pytest.mark.parametrize(
    ("signed", "now_unix_s", "reason"),
    [
        (certificate.issue(OTHER_AUTHORITY, X, NOW, LIFE_S, counting_rng("sign")), NOW, "signed by another key"),
        (certificate.issue(AUTHORITY, OTHER_AUTHORITY.public_x, NOW, LIFE_S, counting_rng("sign")), NOW, "signed by another key"),
        (SIGNED, NOW + LIFE_S + 1, "expired"),
        (SIGNED, NOW - BACKDATED_S - 1, "not yet valid"),
    ],
)
def test_a_certificate_that_does_not_prove_us_is_not_adopted(signed: Certificate, now_unix_s: float, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^certificate: {reason}$"):
        ServerIdentity(STATIC, AUTHORITY.public_x, signed, counting_rng("sign"), now_unix_s)
    server = identity()
    before = server.certificate
    with pytest.raises(ValueError, match=reason):
        server.adopt(signed, now_unix_s)
    assert (server.certificate, server.certificate_wire()) == (before, certificate.encode(before))


def test_by_default_a_certificate_lives_a_week() -> None:
    server = ServerIdentity.self_signed(STATIC, AUTHORITY, counting_rng("sign"), NOW)
    assert server.seconds_to_expiry(NOW) == DEFAULT_LIFE_S == 604_800
