"""Replies of real machines and of no machine at all: typed facts, or UnitError and nothing else."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import config
from proxy.errors import UnitError
from proxy.units.drivers.avalon_parse import parse_options, parse_reply, parse_telemetry
from proxy.units.drivers.avalon_reading import read_state

GOLDEN = [json.loads(line) for line in Path("tests/golden/cgminer-api.jsonl").read_text().splitlines()]

# MM blocks as captured, shortened to the words around those in use.
Q_STANDBY = (
    "'STATS':{Ver[Q-25052801_14a19a2] DNA[020100002fa7f22f] STATE[2] SYSTEMSTATU[Work: In Idle, Hash Board: 1] Elapsed[1860367] "
    "DH[2.532%] ITemp[24] HBITemp[32] HBOTemp[32] TMax[0] TAvg[0] FanR[0%] PS[0 1216 1 0 0 2243 17] GHSspd[0.00] GHSmm[56112.38] "
    "GHSavg[70967.01] SoftOFF[4] ECHU[0] ECMM[0] WORKMODE[0] WORKLEVEL[0] MPO[800] CALIALL[7] ADJ[1] Nonce Mask[25]}"
)
A15_RUNNING = (
    "Ver[15-194-24102401_25462b2_9ddf522] DNA[020100008c699117] MEMFREE[1392832.1381104] NETFAIL[0 0 0 0 0 0 0 0] "
    "SYSTEMSTATU[Work: In Work, Hash Board: 3 ] Elapsed[975] BOOTBY[0x04.00000000] Temp[31] TMax[78] TAvg[70] Fan1[4275] "
    "PS[0 1209 1187 297 3526 1188 3731] WALLPOWER[3731] GHSspd[199241.07] DHspd[1.299%] GHSmm[201920.42] SoftOFF[0] "
    "ECHU[0 0 0] ECMM[0] SF0[300 318 339 360] PVT_T0[ 66  65  63]"
)
A1346_ASLEEP = (
    "Ver[1346-110-24041001_08b0955_0196aba] Elapsed[1168] SoftOFF[5] SYSTEMSTATU[Work: In Idle, Hash Board: 3 ] GHSspd[0.00] "
    "GHSmm[0.00] GHSavg[22622.40] PS[0 1198 0 0 0 1393 11]"
)
A10_RUNNING = (
    "Ver[1066-19101244_fe411a8_71edeca] DNA[020100002c2af618] SYSTEMSTATU[Work: In Work, Hash Board: 3 ] Elapsed[6355] Temp[25] "
    "TMax[74] PS[0 1217 1279 221 2834 1280] GHSmm[51062.40] GHSavg[50291.83] ECHU[512 512 512] ECMM[0]"
)
NANO_RUNNING = (
    "Ver[Nano3s-25021401_56abae7] DNA[02010000bd448216] SYSTEMSTATU[Work: In Work, Hash Board: 1] Elapsed[10027] ITemp[-273] "
    "OTemp[65] TMax[95] PS[0 0 27541 4 0 3756 133] GHSspd[6598.84] GHSmm[6783.65] SoftOFF[0] "
    "WORKMODE[2] WORKLEVEL[0] MPO[133] ADJ[1]"
)


def model(**fields: object) -> config.Model:
    levels = [
        config.Level(name="low", power_w=2_400, hashrate_hps=70e12, setting=0),
        config.Level(name="high", power_w=3_700, hashrate_hps=200e12, setting=1),
    ]
    return config.Model(levels=levels, **fields)


SINGLE = [row for row in GOLDEN if "summary+pools" not in row["request"]]
JOINED = [row for row in GOLDEN if "summary+pools" in row["request"]]


@pytest.mark.parametrize("row", SINGLE, ids=lambda row: row["request"][:40])
def test_every_golden_reply_is_read_in_its_form(row):
    reply = parse_reply(row["reply"].rstrip("\0").encode())
    assert reply.is_text == (not row["reply"].startswith("{"))
    assert reply.status in "SIE"


@pytest.mark.parametrize("row", JOINED)
def test_a_joined_reply_is_not_mistaken_for_a_single_one(row):
    # {"summary":[...],"pools":[...]} has no STATUS of its own: we never ask so.
    with pytest.raises(UnitError):
        parse_reply(row["reply"].rstrip("\0").encode())


def test_json_and_text_say_the_same():
    by_request = {row["request"]: parse_reply(row["reply"].rstrip("\0").encode()) for row in SINGLE}
    said, written = by_request['{"command": "pools"}'], by_request["pools|"]
    assert (said.status, said.code, said.message, said.pools_alive) == (written.status, written.code, written.message, 1)


def test_a_status_row_carries_the_units_clock():
    assert parse_reply(GOLDEN[0]["reply"].rstrip("\0").encode()).when_unix_s == 1795417223


@pytest.mark.parametrize("cut", range(1, 200, 7))
def test_a_part_of_a_reply_is_nonsense(cut):
    whole = GOLDEN[0]["reply"].rstrip("\0").encode()
    with pytest.raises(UnitError):
        parse_reply(whole[:-cut])


def test_text_telemetry_is_found_between_its_neighbours():
    text = (
        "STATUS=S,When=6397,Code=70,Msg=CGMiner stats,Description=cgminer 4.11.1|STATS=0,ID=AVA100,Elapsed=6354,"
        f"MM ID0={A10_RUNNING},MM Count=1,Smart Speed=1,Nonce Mask=25|\0"
    )
    reply = parse_reply(text.rstrip("\0").encode())
    assert reply.is_text
    assert reply.summary == A10_RUNNING
    assert reply.when_unix_s == 6397  # a clock that counts from power-on


def test_text_version_gives_product_and_serial():
    text = (
        "STATUS=S,When=92,Code=22,Msg=CGMiner versions,Description=cgminer 4.11.1|VERSION,CGMiner=4.11.1,API=3.7,"
        "PROD=AvalonMiner 1346-110,MODEL=1346-110,VERSION=24041001_08b0955_0196aba,DNA=020100008C699117,MAC=b4a2eb000000|"
    )
    version = parse_reply(text.encode()).version
    assert (version.product, version.firmware, version.serial) == (
        "AvalonMiner 1346-110",
        "24041001_08b0955_0196aba",
        "020100008c699117",
    )


def test_without_a_dna_the_network_address_is_the_serial():
    row = {"STATUS": [{"STATUS": "S", "Code": 22, "Msg": ""}], "VERSION": [{"PROD": "X", "MAC": "B4A2EB01"}]}
    assert parse_reply(json.dumps(row).encode()).version.serial == "mac:b4a2eb01"


@pytest.mark.parametrize("key", ["MM ID1", "MM ID3:Summary"])
def test_a_controller_of_several_machines_is_refused(key):
    row = {"STATUS": [{"STATUS": "S", "Code": 70, "Msg": ""}], "STATS": [{"MM ID0": A10_RUNNING, key: A10_RUNNING}]}
    with pytest.raises(UnitError, match="several mining modules"):
        parse_reply(json.dumps(row).encode())


def test_a_standby_q_is_asleep_although_its_rated_hashrate_stays():
    told = parse_telemetry(Q_STANDBY)
    reading = read_state(told, None, model(), 1.0)
    assert (reading.asleep, reading.level_observed, reading.power_w, reading.hashrate_hps) == (True, 0, 17, 0)
    assert reading.hashrate_rated_hps == pytest.approx(56112.38e9)
    assert (reading.inlet_c, reading.outlet_c, reading.chip_c) == (24, 32, None)
    assert reading.serial == "020100002fa7f22f"


def test_a_running_a15_tells_wall_power_and_no_level():
    reading = read_state(parse_telemetry(A15_RUNNING), None, model(), 1.0)
    assert (reading.asleep, reading.hashing, reading.power_w, reading.power_is_dc) == (False, True, 3731, False)
    assert reading.level_observed == 2  # the level whose power is nearest
    assert reading.elapsed_s == 975
    assert reading.error_bits == (0, 0, 0, 0, 0)


def test_power_between_two_levels_says_no_level():
    told = msgspec.structs.replace(parse_telemetry(A15_RUNNING), wall_power_w=3_000.0)
    assert read_state(told, None, model(), 1.0).level_observed is None


def test_without_a_seventh_word_power_is_the_boards_and_marked_so():
    reading = read_state(parse_telemetry(A10_RUNNING), None, model(), 1.0)
    assert (reading.power_w, reading.power_is_dc) == (2834, True)
    assert reading.hashrate_hps is None  # GHSmm is what it should do
    assert (reading.asleep, reading.hashing) == (False, True)
    assert reading.error_bits == (512, 512, 512, 0, 0)


def test_a_sleeping_a1346_is_asleep():
    assert read_state(parse_telemetry(A1346_ASLEEP), None, model(), 1.0).asleep is True


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("PS[0 1198 0 0 0 1393 11]", "PS[0 1199 1393 223 3107 1393 3334]"),  # boards still up
        ("GHSspd[0.00]", "GHSspd[10.00]"),  # still hashing
        ("In Idle", "In Work"),
        ("SoftOFF[5]", "SoftOFF[6]"),  # booting
        (" PS[0 1198 0 0 0 1393 11]", ""),  # nothing known of its power
    ],
)
def test_sleep_needs_all_its_proofs(old, new):
    reading = read_state(parse_telemetry(A1346_ASLEEP.replace(old, new)), None, model(), 1.0)
    assert reading.asleep is None
    assert reading.level_observed is None


def test_a_missing_sensor_is_unknown_and_not_absolute_zero():
    reading = read_state(parse_telemetry(NANO_RUNNING), None, model(), 1.0)
    assert (reading.inlet_c, reading.outlet_c, reading.chip_c) == (None, 65, 95)


def test_the_setting_of_the_right_word_is_the_level():
    told = parse_telemetry(NANO_RUNNING.replace("WORKMODE[2]", "WORKMODE[1]"))
    assert read_state(told, None, model(setting_command="worklevel"), 1.0).level_observed == 1
    assert read_state(told, None, model(setting_command="workmode"), 1.0).level_observed == 2


def test_a_setting_that_the_model_does_not_list_is_no_level():
    told = parse_telemetry(NANO_RUNNING.replace("WORKLEVEL[0]", "WORKLEVEL[-1]"))
    assert read_state(told, None, model(), 1.0).level_observed is None


def test_an_unfinished_calibration_is_said():
    assert read_state(parse_telemetry(NANO_RUNNING.replace("ADJ[1]", "ADJ[0]")), None, model(), 1.0).calibrating


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Elapsed[975]", "Elapsed[-1]"),
        ("Elapsed[975]", "Elapsed[1e99]"),
        ("GHSspd[199241.07]", "GHSspd[nan]"),
        ("GHSspd[199241.07]", "GHSspd[inf]"),
        ("GHSspd[199241.07]", "GHSspd[-3]"),
        ("GHSspd[199241.07]", "GHSspd[999999999999]"),
        ("GHSspd[199241.07]", "GHSspd[0x10]"),
        ("GHSspd[199241.07]", "GHSspd[１２]"),
        ("1188 3731]", "1188 -3731]"),
        ("1188 3731]", "1188 3731000]"),
        ("1188 3731]", "1188 much]"),
        ("TMax[78]", "TMax[hot]"),
        ("SoftOFF[0]", "SoftOFF[0.5]"),
        ("SoftOFF[0]", "SoftOFF[0] SoftOFF[4]"),
        ("Elapsed[975]", "Elapsed[" + "9" * 30 + "]"),
    ],
)
def test_numbers_no_machine_has_make_the_whole_answer_nonsense(old, new):
    assert old in A15_RUNNING
    with pytest.raises(UnitError):
        parse_telemetry(A15_RUNNING.replace(old, new))


@pytest.mark.parametrize("summary", ["", "'STATS':{}", "hello", "Foo[1] Bar[2]"])
def test_a_block_without_work_or_power_is_no_telemetry(summary):
    with pytest.raises(UnitError, match="no Avalon telemetry"):
        parse_telemetry(summary)


def test_the_option_list_is_read_and_anything_else_is_not():
    options = parse_options("ASC 0 set info: help|voltage|workmode|worklevel|reboot|softon|softoff|")
    assert {"workmode", "softoff"} <= options
    assert parse_options("ASC 0 set failed: Unknown option: help") is None
    assert parse_options("ASC 0 set OK") is None


def only_unit_errors(function, *arguments):
    try:
        return function(*arguments)
    except UnitError:
        return None


@given(st.binary(max_size=400))
def test_random_bytes_give_a_reply_or_a_unit_error(raw):
    only_unit_errors(parse_reply, raw)


WORDS = st.sampled_from(
    [
        "Ver",
        "DNA",
        "Elapsed",
        "SYSTEMSTATU",
        "SoftOFF",
        "WORKLEVEL",
        "WORKMODE",
        "MPO",
        "PS",
        "WALLPOWER",
        "GHSspd",
        "TMax",
        "ADJ",
        "ECHU",
    ]
)
VALUES = st.one_of(
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    st.lists(st.integers(), max_size=9).map(lambda v: " ".join(map(str, v))),
)


@given(st.lists(st.tuples(WORDS, VALUES), max_size=12))
def test_random_words_give_a_reading_or_a_unit_error(pairs):
    told = only_unit_errors(parse_telemetry, " ".join(f"{key}[{value}]" for key, value in pairs))
    if told is not None:
        reading = read_state(told, None, model(), 0.0)
        assert reading.power_w is None or 0 <= reading.power_w <= 100_000
        assert reading.hashrate_hps is None or 0 <= reading.hashrate_hps <= 1e17
        assert reading.level_observed in (None, 0, 1, 2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["STATUS", "Code", "Msg", "When", "STATS", "MM ID0", "VERSION", "POOLS"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_random_json_gives_a_reply_or_a_unit_error(value):
    only_unit_errors(parse_reply, json.dumps(value).encode())


@given(st.integers(min_value=0, max_value=len(A15_RUNNING) - 1), st.characters(max_codepoint=255))
def test_one_wrong_character_gives_a_reading_or_a_unit_error(at, character):
    only_unit_errors(parse_telemetry, A15_RUNNING[:at] + character + A15_RUNNING[at + 1 :])
