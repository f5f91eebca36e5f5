"""Where each field of a PDU header lies, read and written in place (RFC 7143 section 11). Big endian.

The offsets are bytes from the start of the 48-byte basic header segment.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t

from goldherd.native.endian cimport get16, get32, get64, put16, put32, put64

cdef enum:
    OPCODE = 0
    FLAGS = 1
    RESPONSE = 2            # SCSI Response, TMF Response, Logout Response, Reject: reason
    STATUS = 3              # SCSI Response, Data-In with S
    AHS_LENGTH = 4          # TotalAHSLength in words
    DATA_LENGTH = 5         # DataSegmentLength, 24 bits; get32(header + 4) & 0xFFFFFF
    LUN = 8
    ISID = 8
    TSIH = 14
    ITT = 16                # Initiator Task Tag
    TTT = 20                # Target Transfer Tag
    EDTL = 20               # Expected Data Transfer Length, SCSI Command
    CID = 20
    REFERENCED_TAG = 20     # TMF request
    CMD_SN = 24             # towards the target
    EXP_STAT_SN = 28
    STAT_SN = 24            # towards the initiator
    EXP_CMD_SN = 28
    MAX_CMD_SN = 32
    CDB = 32
    REF_CMD_SN = 32         # TMF request
    DATA_SN = 36            # Data-In, Data-Out, R2T (R2TSN), SCSI Response (ExpDataSN)
    BUFFER_OFFSET = 40      # Data-In, Data-Out, R2T
    RESIDUAL = 44           # SCSI Response, Data-In
    DESIRED_LENGTH = 44     # R2T
    LOGIN_STATUS = 36

cdef inline uint32_t data_length(const uint8_t* header) noexcept nogil:
    """DataSegmentLength in bytes, without padding and digest."""
    return get32(header + 4) & <uint32_t>0xFFFFFF

cdef inline uint32_t head_length(const uint8_t* header) noexcept nogil:
    """Basic and additional header segments in bytes, without digest."""
    return 48 + 4 * <uint32_t>header[AHS_LENGTH]

cdef inline uint32_t padded(uint32_t length) noexcept nogil:
    """The length with its padding to a multiple of 4."""
    return (length + 3) & ~<uint32_t>3

cdef inline bint before(uint32_t a, uint32_t b) noexcept nogil:
    """Serial number comparison a < b (RFC 1982, as RFC 7143 4.2.2.1 asks)."""
    return <int32_t>(a - b) < 0

cdef inline bint additional_headers_fit(const uint8_t* header) noexcept nogil:
    """Whether each additional header segment ends within TotalAHSLength (RFC 7143 11.2.2)."""
    cdef uint32_t left = 4 * <uint32_t>header[AHS_LENGTH]
    cdef const uint8_t* segment = header + 48
    cdef uint32_t size
    while left:
        size = padded(3 + <uint32_t>get16(segment))     # AHSLength counts what follows AHSType
        if size > left:
            return False
        segment += size
        left -= size
    return True
