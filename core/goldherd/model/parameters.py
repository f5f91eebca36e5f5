"""What a login agreed on: negotiation makes it, sessions and reactors obey it (RFC 7143 section 13)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a login agreed on, in the terms of the data plane. Lengths in bytes, times in seconds."""

    header_digest: bool = False
    data_digest: bool = False
    max_send_data_segment: int = 8192
    """The initiator's MaxRecvDataSegmentLength: the longest data segment we may send."""
    max_recv_data_segment: int = 8192
    """Ours, if the login gave us the chance to declare it: the longest one we take."""
    max_burst: int = 262144
    first_burst: int = 65536
    initial_r2t: bool = True
    immediate_data: bool = True
    max_outstanding_r2t: int = 1
    data_pdu_in_order: bool = True
    data_sequence_in_order: bool = True
    time2wait: int = 2
    time2retain: int = 20
    max_connections: int = 1
    error_recovery_level: int = 0
    protocol_level: int = 1
