"""What holds for every conversation of a Stratum V2 server with a device, whatever it is about.

Each rule carries its ids of the conformance catalogue. A rule looks at the log of a device alone: what it said and what it heard,
in the order in which it did.
"""

import time

from protocol.v2.codec import decode_payload
from protocol.v2.constants import REQUIRES_FIXED_VERSION, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING
from protocol.v2.layouts import LAYOUT_BY_TYPE
from protocol.v2.messages import common, extensions, mining
from protocol.v2.messages.base import Message
from protocol.v2.transport import Frame
from tests.support.v2 import Device

# Bitcoin Core's: a block whose time is further ahead is not taken.
MAX_FUTURE_BLOCK_TIME_S = 7_200
Job = mining.NewMiningJob | mining.NewExtendedMiningJob
Success = mining.OpenStandardMiningChannelSuccess | mining.OpenExtendedMiningChannelSuccess
# They answer what a device says of a channel that may well not be its own.
ANSWERS = (mining.UpdateChannelError, mining.SubmitSharesError, mining.SetCustomMiningJobError)


class _Channel:
    """One open channel, as the rules see it."""

    def __init__(self, success: Success, max_target: int) -> None:
        self.is_extended = isinstance(success, mining.OpenExtendedMiningChannelSuccess)
        self.group_id = success.group_channel_id
        self.prefix = success.extranonce_prefix
        self.size = len(success.extranonce_prefix) + getattr(success, "extranonce_size", 0)
        self.max_target = max_target
        self.has_heard = False
        self.futures: set[int] = set()
        self.jobs: set[int] = set()
        self.sequence_numbers: set[int] = set()


class Conversation:
    """Follows one log from its beginning."""

    def __init__(self) -> None:
        self.asked: dict[tuple[str, int], Message] = {}
        self.answered: set[tuple[str, int]] = set()
        self.max_targets: dict[int, int] = {}
        self.channels: dict[int, _Channel] = {}
        self.used_ids: set[int] = set()
        self.prefixes: list[bytes] = []
        self.client_flags = 0
        self.server_flags = 0
        self.is_set_up = False
        self.is_negotiated = False

    # -- what the device said

    def said(self, message: Message) -> None:
        """Take what the device asked for."""
        match message:
            case common.SetupConnection():
                self.client_flags = message.flags
            case mining.OpenStandardMiningChannel() | mining.OpenExtendedMiningChannel():
                self.asked["open", message.request_id] = message
                self.max_targets[message.request_id] = message.max_target
                self.answered.discard(("open", message.request_id))
            case extensions.RequestExtensions():
                self.is_negotiated = True
                self.asked["extensions", message.request_id] = message
                self.answered.discard(("extensions", message.request_id))
            case mining.UpdateChannel(channel_id=channel_id) if channel_id in self.channels and message.maximum_target:
                # What was on its way already may still be above: the largest counts until a test looks closer (M-UC-1).
                channel = self.channels[channel_id]
                channel.max_target = max(channel.max_target, message.maximum_target)
            case mining.SubmitSharesStandard() | mining.SubmitSharesExtended():
                if message.channel_id in self.channels:
                    self.channels[message.channel_id].sequence_numbers.add(message.sequence_number)
            case mining.CloseChannel():
                pass  # what crosses it is the test's to look at (M-CC-1)
            case _:
                pass

    # -- what it heard

    def heard(self, frame: Frame) -> None:
        """Check one frame."""
        layout = LAYOUT_BY_TYPE[frame.extension_type, frame.message_type]
        message = decode_payload(frame.extension_type, frame.message_type, frame.payload)
        assert isinstance(message, Message)
        assert frame.is_channel is layout.is_channel, f"GEN-1: {layout.name}"
        is_negotiation = layout.message_class.__module__ == extensions.__name__
        assert frame.extension_type == (1 if is_negotiation else 0), f"GEN-2, X0001-REQS-2: {layout.name}"
        assert not message.rest, f"GEN-10: {layout.name}"
        for name in ("error_code", "reason_code"):
            code = getattr(message, name, b"")
            assert all(0x20 <= byte < 0x7F for byte in code), f"GEN-3, GEN-4, M-CC-4, M-CC-5: {code!r}"
        if not self.is_set_up:
            assert isinstance(message, common.SetupConnectionSuccess | common.SetupConnectionError), f"C-SC-1: {layout.name}"
        if is_negotiation:
            assert self.is_negotiated, "GEN-13"
        self._check(message)

    def _check(self, message: Message) -> None:
        match message:
            case common.SetupConnectionSuccess():
                self.is_set_up, self.server_flags = True, message.flags
                assert not (self.client_flags & REQUIRES_VERSION_ROLLING and message.flags & REQUIRES_FIXED_VERSION), "C-SC-3"
            case mining.OpenStandardMiningChannelSuccess() | mining.OpenExtendedMiningChannelSuccess():
                self._check_open(message)
            case mining.OpenMiningChannelError():
                self._answers("open", message.request_id)
            case extensions.RequestExtensionsSuccess():
                wanted = self._answers("extensions", message.request_id)
                assert isinstance(wanted, extensions.RequestExtensions)
                assert set(message.supported_extensions) <= set(wanted.requested_extensions), "X0001-REQS-3"
            case extensions.RequestExtensionsError():
                self._answers("extensions", message.request_id)
            case mining.SetGroupChannel():
                assert not self.client_flags & REQUIRES_STANDARD_JOBS, "M-SGC-1"
            case _ if not isinstance(message, ANSWERS) and hasattr(message, "channel_id"):
                self._check_channel_message(message, message.channel_id)

    def _check_open(self, message: Success) -> None:
        wanted = self._answers("open", message.request_id)
        is_extended = isinstance(wanted, mining.OpenExtendedMiningChannel)
        assert is_extended is isinstance(message, mining.OpenExtendedMiningChannelSuccess)
        assert message.target <= self.max_targets[message.request_id], "M-OSMC-1, M-OEMC-2"
        if isinstance(message, mining.OpenExtendedMiningChannelSuccess):
            assert isinstance(wanted, mining.OpenExtendedMiningChannel)
            assert wanted.min_extranonce_size <= message.extranonce_size <= 32, "M-OEMCS-3, M-OEMCS-6"
        assert message.channel_id not in self.used_ids, "M-OSMCS-2, M-OEMCS-2"
        assert message.channel_id != message.group_channel_id, "M-SGC-2"
        channel = _Channel(message, self.max_targets[message.request_id])
        for other in self.channels.values():
            assert (other.group_id != channel.group_id) or other.size == channel.size, "M-OEMCS-4"
        for prefix in self.prefixes:
            assert not prefix.startswith(channel.prefix), "M-OSMCS-3, M-OEMCS-5"
            assert not channel.prefix.startswith(prefix), "M-OSMCS-3, M-OEMCS-5"
        self.prefixes.append(channel.prefix)
        assert message.group_channel_id not in self.channels, "M-SGC-2"
        self.used_ids |= {message.channel_id, message.group_channel_id}
        self.channels[message.channel_id] = channel

    def _answers(self, kind: str, request_id: int) -> Message:
        assert (kind, request_id) in self.asked, "M-OSMCS-1, M-OEMCS-1, M-OMCE-1, X0001-REQS-1, X0001-REQE-3"
        assert (kind, request_id) not in self.answered, "GEN-14"
        self.answered.add((kind, request_id))
        return self.asked[kind, request_id]

    def _check_channel_message(self, message: Message, channel_id: int) -> None:
        members = [channel for channel in self.channels.values() if channel.group_id == channel_id]
        receivers = [self.channels[channel_id]] if channel_id in self.channels else members
        assert receivers, f"GEN-5, GEN-6: {message}"
        for channel in receivers:
            self._check_one(channel, message, is_group=channel_id not in self.channels)
        if isinstance(message, mining.CloseChannel):
            self.channels = {key: channel for key, channel in self.channels.items() if channel not in receivers}

    def _check_one(self, channel: _Channel, message: Message, *, is_group: bool) -> None:
        is_first, channel.has_heard = not channel.has_heard, True
        match message:
            case mining.NewMiningJob() | mining.NewExtendedMiningJob():
                self._check_job(channel, message, is_group=is_group)
            case mining.SetNewPrevHash():
                assert message.job_id in channel.futures, "M-SNPH-1, M-NMJ-4, M-NEMJ-6"
                assert message.min_ntime <= time.time() + MAX_FUTURE_BLOCK_TIME_S, "M-SNPH-3"
                channel.jobs = {message.job_id}
                channel.futures = set()
            case mining.SetTarget():
                assert message.maximum_target <= channel.max_target, "M-ST-1"
            case mining.SubmitSharesSuccess():
                assert message.last_sequence_number in channel.sequence_numbers, "M-SSOK-2"
            case mining.SetExtranoncePrefix():
                raise AssertionError("M-SEP-1: the geometry of a device never changes")
        if is_first:
            assert isinstance(message, Job | mining.SubmitSharesSuccess | mining.CloseChannel), f"M-NMJ-1, M-NEMJ-1: {message}"

    def _check_job(self, channel: _Channel, job: Job, *, is_group: bool) -> None:
        if isinstance(job, mining.NewMiningJob):
            assert not is_group, "M-NMJ-3"
            assert not channel.is_extended, "M-NMJ-3"
        else:
            assert channel.is_extended, "M-NEMJ-3"
            assert not self.client_flags & REQUIRES_STANDARD_JOBS, "M-NEMJ-4"
            assert job.coinbase_tx_prefix[4:5] != b"\x00", "M-NEMJ-5: the marker of BIP 141"
            if self.client_flags & REQUIRES_VERSION_ROLLING:
                assert job.version_rolling_allowed, "M-NEMJ-8"
            if self.server_flags & REQUIRES_FIXED_VERSION:
                assert not job.version_rolling_allowed, "C-SC-6"
        assert job.job_id not in channel.jobs | channel.futures, "M-NMJ-4, M-NEMJ-6"
        assert channel.jobs or job.min_ntime is None, "M-NMJ-2, M-NEMJ-2"
        (channel.futures if job.min_ntime is None else channel.jobs).add(job.job_id)


def check_conversation(device: Device) -> None:
    """Every rule, for everything that `device` said and heard."""
    conversation = Conversation()
    for entry in device.log:
        if isinstance(entry, Frame):
            conversation.heard(entry)
        else:
            conversation.said(entry)
