"""The bounds of limits.py that compiled code needs, and the relations between them; tests/test_limits.py holds both
lists equal.

session/memory.pyx calls check_relations(), which costs nothing: the C compiler refuses a relation that is not so.
"""

cdef extern from * nogil:
    """
    #define gh_require(condition) _Static_assert(condition, "native/limits.pxd: " #condition)
    """
    void require "gh_require"(bint condition)

cdef enum:
    SECTOR_BYTES = 512
    GRANULE_BYTES = 262144
    DATA_SEGMENT_BYTES_MAX = 262144
    LUNS_MAX = 256
    COMMAND_WINDOW = 128
    STALLED_BYTES_MAX = 131072
    GAP_SECONDS = 60
    RECEIVE_BYTES = 65536
    SLOW_STEP_MILLISECONDS = 50
    BATCH_IOVECS = 1024
    BATCH_BYTES_MAX = 524288
    SERVICE_BYTES_MAX = 1048576
    BATCH_CONTROL_BYTES = 131072
    BATCH_DATA_BYTES = 1048576
    PLAN_RUNS_MAX = 32
    EMIT_BYTES_MAX = 262144
    WRITE_CHUNK_BYTES_MAX = 1048576
    WRITE_INLINE_BYTES_MAX = 131072
    WRITE_BUFFER_BYTES_MAX = 67108864
    PARAMETER_BYTES_MAX = 33554432
    COLD_PLANS_MAX = 3
    TASKS_MAX = 1048576
    SEND_STUCK_SECONDS = 60
    PING_SECONDS = 30
    SILENCE_SECONDS = 60
    LANE_JOBS_MAX = 4
    POOL_PATIENCE_MS = 5
    POOL_IDLE_SECONDS = 30
    CACHE_SLOTS_MIN = 8
    CACHE_FETCHES_PER_DROP = 64
    POPULATE_COPY_BYTES = 32768
    RESIDENCY_PAGES = 4096
    ZERO_PAGE_BYTES = 65536
    IMMEDIATE_TASKS_MAX = 32
    SINK_BYTES_MIN = 8192
    REQUEST_BYTES_MAX = 65536
    RESIDUE_KEPT_BYTES = 4096
    SENSE_BYTES_MAX = 28
    PREBUILT_ANSWER_BYTES_MAX = 8192
    BATCH_CONTROL_RESERVE_BYTES = 16384
    BATCH_DATA_RESERVE_BYTES = 266240
    BATCH_IOVEC_RESERVE = 36
    POLL_EVENTS = 256
    TICK_MILLISECONDS = 1000
    SPACE_REMINDER_MS = 10000
    SPACE_RETRY_MS = 1000
    FULL_FORGOTTEN_MS = 60000
    FREE_BUFFER_BYTES_MAX = 16777216
    WRITE_BUFFER_BYTES_MIN = 4096

cdef inline void check_relations() noexcept nogil:
    """The relations of limits.py among these bounds, where the data plane relies on them."""
    require(COMMAND_WINDOW & (COMMAND_WINDOW - 1) == 0)     # ordering.pyx: a CmdSN modulo the window goes on over 2^32
    require(COMMAND_WINDOW >= 64)                           # state.pxd: skipped[] has a bit for each number of it
    require(LUNS_MAX <= 1 << 14)
    require(GRANULE_BYTES & (SECTOR_BYTES - 1) == 0)
    require(EMIT_BYTES_MAX & (SECTOR_BYTES - 1) == 0)
    require(STALLED_BYTES_MAX <= DATA_SEGMENT_BYTES_MAX)    # service.pyx: core.receive has room for both
    require(SINK_BYTES_MIN <= DATA_SEGMENT_BYTES_MAX)
    require(REQUEST_BYTES_MAX <= DATA_SEGMENT_BYTES_MAX)
    require(PLAN_RUNS_MAX + 4 <= BATCH_IOVEC_RESERVE)       # batch.pxd: any one PDU fits behind has_room()
    require(BATCH_IOVEC_RESERVE < BATCH_IOVECS)
    require(PREBUILT_ANSWER_BYTES_MAX + 1024 <= BATCH_CONTROL_RESERVE_BYTES)
    require(BATCH_CONTROL_RESERVE_BYTES < BATCH_CONTROL_BYTES)
    require(EMIT_BYTES_MAX + SECTOR_BYTES <= BATCH_DATA_RESERVE_BYTES)
    require(DATA_SEGMENT_BYTES_MAX + 8 <= BATCH_DATA_RESERVE_BYTES)
    require(BATCH_DATA_RESERVE_BYTES < BATCH_DATA_BYTES)
    require(BATCH_BYTES_MAX <= SERVICE_BYTES_MAX)
    require(SENSE_BYTES_MAX <= 252)
    require(WRITE_INLINE_BYTES_MAX <= WRITE_CHUNK_BYTES_MAX)
    require(WRITE_CHUNK_BYTES_MAX < 1 << 24)
    require(WRITE_CHUNK_BYTES_MAX <= FREE_BUFFER_BYTES_MAX)
    require(FREE_BUFFER_BYTES_MAX <= WRITE_BUFFER_BYTES_MAX)
    require(2 * PARAMETER_BYTES_MAX <= WRITE_BUFFER_BYTES_MAX)
    require(WRITE_BUFFER_BYTES_MIN & (WRITE_BUFFER_BYTES_MIN - 1) == 0)
    require(PING_SECONDS < SILENCE_SECONDS)
    require(TICK_MILLISECONDS <= 1000)
