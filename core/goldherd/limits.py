"""Every bound of goldherd in one place, each with its unit and its reason; at the end the relations between bounds.

Constants that compiled code needs too are repeated as `enum` values in `native/limits.pxd`, with the relations between
them that its compiler checks; tests/test_limits.py holds the two lists equal.
"""

from typing import Final

# --- block ------------------------------------------------------------------------------------------------
SECTOR_BYTES: Final = 512
"""The unit of VHD and of every look-up below SCSI."""
IMAGE_BYTES_MAX: Final = 1 << 60
"""Keeps offset + length far from the end of 64 bits."""
GRANULE_BYTES: Final = 256 * 1024
"""What one cold read brings into memory: large enough for a disk's throughput, small against a boot."""
CHAIN_DEPTH_MAX: Final = 64
"""Parents above a leaf; the VHD format names no limit, and every level costs a look-up per read."""
STORAGE_THREADS: Final = 4
"""Threads that may sleep in a disk and stay: fetches, writes, flushes, cold reads."""
STORAGE_THREADS_MAX: Final = 1024
"""Storage threads while disks hang: LANE_JOBS_MAX for each of 256 disks. A thread that sleeps costs a few KiB."""
PYTHON_THREADS: Final = 4
"""Threads that run Python backends and stay; apart from the storage threads, so that a slow plugin delays plugins
only."""
PYTHON_THREADS_MAX: Final = 64
"""Threads for Python backends while some of them hang."""
UPKEEP_PATIENCE_SECONDS: Final = 0.2
"""The timed flush of one disk holds up those of the others so long at most."""
LANE_JOBS_MAX: Final = 4
"""Jobs of one disk that are under way at the same time: a disk that hangs holds so many threads."""
POOL_PATIENCE_MS: Final = 5
"""A disk's work waits so long for a thread before the pool starts one more: longer than a quick disk's answer."""
POOL_IDLE_SECONDS: Final = 30
"""A thread that was started while disks hung ends after so long without work."""
FILTERS_MAX: Final = 16
"""Filters over one image: each costs a call per read and write."""
DELAY_MILLISECONDS_MAX: Final = 60_000
"""The longest delay of the filter `delay`: no initiator waits longer."""
PROBE_BYTES: Final = 4096
"""What a format is guessed from at each end of a file: VHD needs 512 at the end, VHDX and others 4096 at
most."""
CACHE_SLOTS_MIN: Final = 8
"""Granules of the golden cache, however small its budget: one for each of its fetches, and as many that are read."""
CACHE_FETCHES_PER_DROP: Final = 64
"""Fetches of an image after which the kernel is told to drop its copy: 16 MiB of page cache at most."""
POPULATE_COPY_BYTES: Final = 32768
"""Stack buffer with which pages are touched where MADV_POPULATE_READ is missing."""
RESIDENCY_PAGES: Final = 4096
"""Pages that one mincore call looks at."""
OUTLIVING_CLOCK_SECONDS: Final = 10
"""A disk file that was changed so long after the daemon's last write to it was changed by another program: more than
the clocks of kernel and daemon differ, and than a write waits for its turn."""
OUTLIVING_FREE_SHARE: Final = 0.1
"""Share of a tmpfs that the tables of disks leave to others: systemd and udev need room in /run as well."""
ZERO_PAGE_BYTES: Final = 65536
"""Zeros that one write takes where a file system can neither punch nor zero a range."""

# --- wire -------------------------------------------------------------------------------------------------
DATA_SEGMENT_BYTES_MAX: Final = 262144
"""The MaxRecvDataSegmentLength we declare after login."""
LOGIN_DATA_SEGMENT_BYTES_MAX: Final = 8192
"""RFC 7143 13.12: the default holds for the whole login."""
TEXT_BYTES_MAX: Final = 65536
"""Text collected over C-bit PDUs; the longest sensible login is under 4 KiB."""
TEXT_PAIRS_MAX: Final = 256
"""Keys in one text; RFC 7143 knows about 40."""
TEXT_KEY_BYTES_MAX: Final = 63
"""RFC 7143 6.1, standard-label."""
TEXT_VALUE_BYTES_MAX: Final = 255
"""RFC 7143 6.1, unless a key says otherwise."""
TEXT_LINE_KEPT_BYTES_MAX: Final = 64
"""The longest line of a text that is remembered as read: all operational keys of RFC 7143 are shorter."""
TEXT_LINES_KEPT_MAX: Final = 1024
"""Lines that are remembered as read, about 250 bytes each: some for each kind of initiator, and names that pass by."""
CHAP_BINARY_BYTES_MAX: Final = 1024
"""RFC 7143 12.1.3: CHAP_C and CHAP_R, decoded."""

# --- session ----------------------------------------------------------------------------------------------
LUNS_MAX: Final = 256
"""LUNs per target; single-level addressing in one byte, as every boot client uses."""
COMMAND_WINDOW: Final = 128
"""Commands a session may have under way: open-iscsi's queue (cmds_max) is 128."""
CONNECTIONS_MAX: Final = 32
"""Connections of one session at most, whatever is configured: what Windows offers."""
STALLED_BYTES_MAX: Final = 131072
"""Received bytes of a connection that wait for a command of another one, beside those of a PDU that is not whole; then
it is read no further."""
GAP_SECONDS: Final = 60
"""How long commands wait for one before them that another connection should bring; then the session ends."""
NEGOTIATIONS_KEPT_MAX: Final = 128
"""Negotiations whose outcome is remembered, a few KiB each: initiators of one kind send the same keys at each login."""
NEGOTIATION_KEYS_KEPT_MAX: Final = 32
"""Keys of a request whose outcome is remembered: RFC 7143 has 25 that a login may carry."""
NAMES_READ_MAX: Final = 4096
"""iSCSI names that are remembered as read, each up to 223 bytes: a machine logs in again and again."""
LOGIN_ROUNDS_MAX: Final = 32
"""Requests in one login; mutual CHAP with every stage takes 5."""
TEXT_ROUNDS_MAX: Final = 1024
"""Requests in one Text exchange; enough for 64 KiB in, and for any list of targets in 8 KiB pieces out."""
FIRST_BURST_BYTES_MAX: Final = 262144
"""The most data a write may send unasked (FirstBurstLength); holds a whole 256 KiB write."""
OUTSTANDING_R2T_MAX: Final = 1
"""R2Ts open at a time per command; the queue depth supplies the parallelism."""
IMMEDIATE_TASKS_MAX: Final = 32
"""Tasks of a session beside its window, for immediate commands: task management in an emergency."""
SINK_BYTES_MIN: Final = 8192
"""Data segments from here on go straight to their buffer; shorter ones are collected like headers."""
REQUEST_BYTES_MAX: Final = 65536
"""Data segment of a PDU for the control plane (Text, Logout, task management); longer ones are rejected."""
RESIDUE_KEPT_BYTES: Final = 4096
"""A buffer for the part of a PDU that has come stays with its connection up to this size."""
SENSE_BYTES_MAX: Final = 28
"""MAXIMUM SUPPORTED SENSE DATA LENGTH (SPC-4 7.8.7): descriptor format with INFORMATION and a sense-key specific field,
the longest that scsi/sense.py makes."""
PREBUILT_ANSWER_BYTES_MAX: Final = 8192
"""An answer that the data plane gives by itself; longer ones take the slow path."""

# --- reactor ----------------------------------------------------------------------------------------------
RECEIVE_BYTES: Final = 65536
"""Asked of one recv: measured best for writes, without effect on reads."""
BATCH_IOVECS: Final = 1024
"""IOV_MAX of Linux: what one sendmsg takes."""
BATCH_BYTES_MAX: Final = 524288
"""Bytes after which a batch is sent before anything is added to it."""
SERVICE_BYTES_MAX: Final = 1048576
"""Bytes one connection may send before the others of its reactor are served."""
BATCH_CONTROL_BYTES: Final = 131072
"""Room for the headers of one batch: more than BATCH_IOVECS / 2 headers with digests need."""
BATCH_DATA_BYTES: Final = 1048576
"""Room for payload that has to be copied once (cold files, Python backends, replies)."""
PLAN_RUNS_MAX: Final = 32
"""Runs of one plan; a more fragmented range is sent in several Data-In PDUs."""
EMIT_BYTES_MAX: Final = 262144
"""Longest Data-In, whatever the initiator would take: bounds the copy of a read that is not in memory."""
WRITE_CHUNK_BYTES_MAX: Final = 1048576
"""Longest burst asked for by one R2T, and the most memory one write holds."""
WRITE_INLINE_BYTES_MAX: Final = 131072
"""Longest write a reactor hands to the page cache itself; longer ones would delay its other sessions."""
WRITE_BUFFER_BYTES_MAX: Final = 67108864
"""Write buffers of one reactor; when they are taken, R2Ts wait and unsolicited writes get TASK SET FULL."""
PARAMETER_BYTES_MAX: Final = 33554432
"""Data-Out of a command that Python carries out (VERIFY, ORWRITE, parameter lists...), the longest of VPD B0 included.
It is collected whole, in one write buffer."""
COLD_PLANS_MAX: Final = 3
"""Times a read is planned again after a fetch before it is read by the pool (a cache smaller than its work)."""
TASKS_MAX: Final = 1048576
"""Tasks of one reactor: 20 bits of the Target Transfer Tag."""
SEND_STUCK_SECONDS: Final = 60
"""A peer that takes no byte for so long is gone: its connection is closed."""
PING_SECONDS: Final = 30
"""Silence after which a NOP-In is sent, unless the settings say otherwise."""
SILENCE_SECONDS: Final = 60
"""Silence after which an initiator that has answered a ping before is let go, unless the settings say otherwise."""
BATCH_CONTROL_RESERVE_BYTES: Final = 16384
"""Left of a batch's room for headers and small answers before a PDU is added: what any one PDU takes of it."""
BATCH_DATA_RESERVE_BYTES: Final = 266240
"""The same of its room for copied payload: EMIT_BYTES_MAX, and what rounding to sectors and padding add."""
BATCH_IOVEC_RESERVE: Final = 36
"""The same of its iovec entries: header, PLAN_RUNS_MAX runs, padding and digest, and what was started before."""
SLOW_STEP_MILLISECONDS: Final = 50
"""A step of a reactor that takes longer is counted and told: every session of the reactor waited for it."""
SLOW_STEP_LOG_SECONDS: Final = 60
"""Slow steps are told in the log this often at most."""
POLL_EVENTS: Final = 256
"""Events of one epoll_wait: more are told by the next one."""
TICK_MILLISECONDS: Final = 1000
"""How often a reactor looks at its clock: pings, silence and stuck sends are counted in seconds."""
FULL_DISK_HOLD_SECONDS: Final = 600
"""How long writes of a full disk wait for space, unless the settings say otherwise: an administrator who is called has
time to make some."""
SPACE_LOOK_SECONDS: Final = 1.0
"""How often the control plane looks which open disks have no space."""
VOLUME_LOOK_SECONDS: Final = 5.0
"""How often file systems of disks are asked for their space: a call that waits for no disk while it is sound."""
VOLUMES_ASKED_MAX: Final = 64
"""File systems that have not answered, each with a thread that waits; no more are asked then."""
THRESHOLD_SET_BYTES: Final = 1 << 20
"""The unit in which the space of a disk is told to initiators (threshold sets, SBC-3 4.7.3.8): 32 bits count 4 PiB."""
FULL_DISK_HOLD_SECONDS_MAX: Final = 86_400
"""The longest that may be set: a day."""
SPACE_REMINDER_MS: Final = 10_000
"""A write that waits for space shows its initiator so often that it goes on: Linux gives a command up that saw nothing
for 30 seconds."""
SPACE_RETRY_MS: Final = 1000
"""How often one of a full disk's writes is tried again."""
FULL_FORGOTTEN_MS: Final = 60_000
"""A disk that has met no lack of space for so long was not full meanwhile: the next lack begins a new time."""
FREE_BUFFER_BYTES_MAX: Final = 16777216
"""Write buffers that a reactor keeps for the next writes; beyond this the system gets them back."""
WRITE_BUFFER_BYTES_MIN: Final = 4096
"""The smallest write buffer; the others are powers of two above."""

# --- scsi -------------------------------------------------------------------------------------------------
UNIT_ATTENTIONS_MAX: Final = 16
"""Unit attentions waiting on one nexus; equal ones collapse, and beyond this the oldest goes."""
KNOWN_PORTS_MAX: Final = 4096
"""Initiator ports a logical unit remembers having met since start; a forgotten one sees 29/00 again."""
TRANSFER_BYTES_MAX: Final = 32 << 20
"""MAXIMUM TRANSFER LENGTH of VPD B0 in bytes: above the 18.4 MiB that firmware reads in one command, low
enough to bound what one command can make the control plane hold."""
STEP_BYTES: Final = 1 << 20
"""The pieces in which long commands (WRITE SAME, VERIFY, EXTENDED COPY, SANITIZE) work, and may be
aborted."""
COMPARE_AND_WRITE_BLOCKS_MAX: Final = 255
"""MAXIMUM COMPARE AND WRITE LENGTH; the CDB's field has one byte."""
ATOMIC_BYTES_MAX: Final = 1 << 20
"""MAXIMUM ATOMIC TRANSFER LENGTH of VPD B0 in bytes."""
UNMAP_BLOCKS_MAX: Final = 1 << 20
"""MAXIMUM UNMAP LBA COUNT: 512 MiB of 512-byte blocks, so that one command ends soon."""
UNMAP_DESCRIPTORS_MAX: Final = 256
"""MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT: bounds the parameter list to about 4 KiB."""
LBA_STATUS_DESCRIPTORS_MAX: Final = 256
"""Descriptors in one GET LBA STATUS answer; a client asks again from where it ended."""
LBA_STATUS_LOOKUPS_MAX: Final = 4096
"""Extents looked at for one such answer; runs of one state become one descriptor, so there may be more of them."""
PARAMETER_LIST_BYTES_MAX: Final = 65536
"""The longest parameter list of any command that carries one."""
REGISTRATIONS_MAX: Final = 1024
"""Persistent reservation keys per logical unit: a few times the nodes of a large cluster."""
SANITIZE_SECONDS_MIN: Final = 5.0
"""How long SANITIZE OVERWRITE takes at least: it leaves disk and processor to the others, and a client that
looks for it sees it run (libiscsi's suite looks after four seconds)."""
COPY_CSCD_DESCRIPTORS_MAX: Final = 16
"""Sources and destinations one EXTENDED COPY may name."""
COPY_SEGMENTS_MAX: Final = 64
"""Segments of one EXTENDED COPY."""
COPY_SEGMENT_BYTES_MAX: Final = 256 << 20
"""MAXIMUM SEGMENT LENGTH of RECEIVE COPY RESULTS."""
COPY_RESULTS_MAX: Final = 16
"""Finished EXTENDED COPY commands whose status is held per nexus."""
COPY_UPDATE_MILLISECONDS: Final = 100
"""ESTIMATED STATUS UPDATE DELAY of a copy under way: by then it is a few steps further."""
COPY_ABORT_LOOK_SECONDS: Final = 0.1
"""How often a COPY OPERATION ABORT that waits for its copy asks whether it was aborted itself."""
TRANSPORT_ID_NAME_BYTES_MAX: Final = 244
"""Name in an iSCSI TransportID: an iSCSI name, ",i,0x", an ISID in 12 digits, NUL, and padding to four bytes."""

ROD_TOKENS_MAX: Final = 128
"""ROD tokens a target knows at once, with at most 64 ranges each: Windows uses each within a second."""
ROD_RANGES_MAX: Final = 64
"""MAXIMUM RANGE DESCRIPTORS of VPD 8F: fragments of a file in one token; Windows sends no more by itself."""
ROD_BYTES_MAX: Final = 256 << 20
"""MAXIMUM TOKEN TRANSFER SIZE of VPD 8F in bytes: the most that Windows asks of one WRITE USING TOKEN."""
ROD_BYTES_OPTIMAL: Final = 64 << 20
"""OPTIMAL TRANSFER COUNT of VPD 8F in bytes: Windows wants one command to end within four seconds."""
ROD_INACTIVITY_SECONDS: Final = 30
"""DEFAULT INACTIVITY TIMEOUT: a copy uses its token at once; what is forgotten costs writes a look at it."""
ROD_INACTIVITY_SECONDS_MAX: Final = 300
"""MAXIMUM INACTIVITY TIMEOUT."""
ROD_LIFETIME_SECONDS_MAX: Final = 3600
"""However often a token is used, it ends after so long."""
COPY_OPERATIONS_MAX: Final = 64
"""Copy operations with 32-bit list identifiers that a nexus has under way or may still ask about."""

# --- server -----------------------------------------------------------------------------------------------
REACTORS_MAX: Final = 256
"""More data plane threads than any machine has cores is a mistyped number."""
LISTENERS_MAX: Final = 64
"""Addresses a server listens on; each costs a socket and a line in every discovery answer."""

# --- catalog ----------------------------------------------------------------------------------------------
NODES_PER_COMMAND_MAX: Final = 10_000
"""Nodes one range may name: above that a range is a typing error, and expanding it could eat the memory."""
NODE_NAME_CHARACTERS_MAX: Final = 63
"""A DNS label (RFC 1035 2.3.4), because a node's name becomes its host name."""
IMAGE_NAME_CHARACTERS_MAX: Final = 63
"""Node, image and version together stay below the 255 bytes of a file name."""
ISCSI_NAME_BYTES_MAX: Final = 223
"""RFC 7143 4.2.7.1."""
CHAP_SECRET_BYTES_MIN: Final = 12
"""96 bits: what RFC 7143 9.2.1 asks for on a connection without IPsec."""
CHAP_SECRET_BYTES_MAX: Final = 255
"""Room for any pass phrase, and a secret file that is the wrong file is noticed."""
CATALOG_BUSY_MILLISECONDS: Final = 10_000
"""How long a change waits for another process that is writing the catalog."""
SPARE_DESCRIPTORS: Final = 384
"""Files that a change opens besides those that it holds: the database, its journal, folders, and new disks."""
RELEASE_THREADS: Final = 8
"""Threads that close files which have lost their names: each frees its space, which waits for the file system's log."""
HOLE_TRIAL_BYTES: Final = 4 << 20
"""The length of the file by which a file system shows whether it keeps holes."""
OVERLAY_THREADS: Final = 8
"""Differencing children made at the same time: they wait for the disk, not for the CPU."""
OVERLAYS_TOGETHER_MAX: Final = 256
"""Differencing children that are open, made and not yet durable, until the disk is waited for once for all of them."""
GUARD_HEAD_BYTES: Final = 1 << 20
"""What the guard hash covers at the start of a sealed file: VHD's header and most block tables."""
GUARD_TAIL_BYTES: Final = 64 * 1024
"""What the guard hash covers at the end of a sealed file: the footer."""
COPY_CHUNK_BYTES: Final = 64 << 20
"""One step of copy_file_range: large for the file system, short enough for a live progress bar."""
READ_CHUNK_BYTES: Final = 1 << 20
"""One step of plain reading and hashing."""
HOLE_BYTES_MIN: Final = 65536
"""The shortest run of zeros that a copy leaves out: what a file system sets aside at once costs more."""
HASH_CHUNK_BYTES: Final = 65536
"""What the content hash digests at a time: part of its definition (docs/formats/content-hash.md), so for ever."""
HASH_THREADS: Final = 4
"""Threads that read and digest one file: more would only move a disk's heads."""
HASH_HOLE_BYTES_MAX: Final = 1 << 30
"""Holes through which SHA-256 over all bytes goes in any case: about a second. More take as much data beside them."""
HASH_SPANS_WAITING: Final = 16
"""Steps that they are ahead of the one that is put together."""
WATCH_SECONDS: Final = 10.0
"""How often a daemon looks whether golden files are as they were sealed: a stat of each."""
WATCH_PATIENCE_SECONDS: Final = 5.0
"""A folder of golden files that has not answered by then is told of as one that does not answer."""
WATCH_THREADS_MAX: Final = 32
"""Folders that are looked into at the same time: each that hangs keeps one thread, and is not asked again meanwhile."""
VERIFY_RATE_BYTES: Final = 64 << 20
"""Bytes per second that a scheduled verification reads: it leaves most of a disk to others, and 1 TB takes 5 hours."""
VERIFY_FIRST_SECONDS: Final = 300.0
"""A daemon verifies nothing so long after its start, unless a file was changed: then the machines boot."""
VERIFY_POLL_SECONDS: Final = 60.0
"""How often a daemon looks whether a version is due."""
VERIFY_RETRY_SECONDS: Final = 3600.0
"""A verification that came to no end is tried again after so long."""
VERIFY_UNREADABLE_SECONDS: Final = 86400.0
"""The same of a file that could not be read."""
VERIFY_STALL_SECONDS: Final = 600
"""A verification that reads nothing for so long is given up."""
UPKEEP_END_SECONDS: Final = 1.0
"""How long a daemon that stops waits for its look into golden files; what hangs is left to itself."""
VERIFY_BURST_SECONDS: Final = 1.0
"""A verification that was held up makes up for so much time, and no more."""
VERIFY_TELL_SECONDS: Final = 0.5
"""How often a verification in a process of its own tells how far it is."""
CHECK_FAULTS_MAX: Final = 20
"""Sentences about what a check can't read of one disk; more help nobody."""
CONTROL_REPLY_BYTES_MAX: Final = 64 << 20
"""What a daemon may answer to `status`: 10,000 sessions fit ten times over."""
CONTROL_REQUEST_BYTES_MAX: Final = 4096
"""One line of JSON from the command line."""
PROGRESS_AFTER_SECONDS: Final = 1.0
"""How long an operation runs before the command line shows its progress."""
CONTROL_SECONDS_MAX: Final = 10
"""How long `status` waits for a daemon that took the connection."""

# --- server -----------------------------------------------------------------------------------------------
SESSIONS_MAX: Final = 16384
"""Sessions of one server; a TSIH has 16 bits, and none may be used twice at once."""
LOGINS_MAX: Final = 16384
"""Connections in their login at once; one that says nothing costs a descriptor and about 10 KiB."""
HOOK_SECONDS: Final = 8.0
"""How long a plugin may think about one question of a login or of discovery; then the question counts as failed."""
HOOK_THREADS: Final = 16
"""Threads of one plugin for plain functions: one that sleeps holds a thread, and nobody else's."""
HOOK_CALLS_WAITING_MAX: Final = 1024
"""Calls of one plugin that wait for its threads."""
NOTIFICATIONS_WAITING_MAX: Final = 4096
"""Notifications that a plugin has not taken yet; a whole site boots at once."""
FAULT_SENTENCE_CHARACTERS_MAX: Final = 500
"""What is kept of the last fault of a plugin: its exceptions may be of any length."""
HOOKS_SETTLE_SECONDS: Final = 2.0
"""How long a server that stops waits for plugins to take their last notifications."""
DNS_SECONDS: Final = 5.0
"""How long a login waits for the DNS names in access rules; then they have no address."""
DNS_KEPT_SECONDS: Final = 60.0
"""How long the addresses of such a name are taken for true: a node that gets another one is admitted soon."""
DNS_FAILED_SECONDS: Final = 5.0
"""The same for a name that could not be resolved."""
DNS_STALE_SECONDS: Final = 3600.0
"""How long the addresses of a name stay true while its name server does not answer (RFC 8767 allows days)."""
DNS_DISCOVERY_SECONDS: Final = 0.5
"""How long discovery waits for names that were never looked up; then its answer lacks what they would admit."""
DNS_THREADS: Final = 32
"""Threads that ask name servers, one for each name at most: names of dead servers hold theirs for some seconds."""
DNS_NAMES_MAX: Final = 4096
"""Names that are remembered; a few times the rules of a large installation."""
DESCRIPTORS_KEPT: Final = 4096
"""Of the files and sockets the system grants, those that connections in their login leave to sessions and disks (at
most half of them, where it grants few)."""
ACCEPT_PAUSE_SECONDS: Final = 0.05
"""Pause after the system had no descriptor for a connection; meanwhile the oldest login ends."""
LOGINS_PER_ADDRESS_MAX: Final = 1024
"""The same of one address: a room full of machines behind one router logs in at once, no more."""
NETLINK_ANSWER_BYTES: Final = 1 << 18
"""One message of the kernel's answer about neighbours; it sends at most 32 KiB at a time."""
ADDRESSES_READ_MAX: Final = 4096
"""Addresses of peers that are remembered as read: a machine logs in again and again."""
LOGIN_OPENINGS_MAX: Final = 3
"""How often a login opens disks that another program changes in the same moment."""
LOGIN_FAILURES_FREE: Final = 50
"""Refused logins of one address before it is delayed: a rack with a wrong secret that tries again."""
LOGIN_FAILURES_FORGIVEN_PER_SECOND: Final = 1.0
"""How fast an address is trusted again."""
LOGIN_DELAY_SECONDS_STEP: Final = 0.05
"""What each failure beyond the free ones adds."""
LOGIN_DELAY_SECONDS_MAX: Final = 2.0
"""The longest delay: twice this still fits into a login, so that who has the right secret gets in."""
LOGIN_FAILURE_ADDRESSES_MAX: Final = 4096
"""Addresses whose failures are remembered, about 300 bytes each; the one that failed longest ago is forgotten."""
LOGIN_RECEIVE_BYTES: Final = 16384
"""Asked of one recv during login; what comes behind the last request goes to the reactor."""
BACKLOG: Final = 4096
"""Connections that wait to be accepted: a whole site powers on at once."""
SEND_BUFFER_BYTES: Final = 1048576
"""Socket send buffer: caps the kernel memory of a slow reader; more is no faster."""
KEEPALIVE_IDLE_SECONDS: Final = 120
KEEPALIVE_INTERVAL_SECONDS: Final = 30
KEEPALIVE_PROBES: Final = 10
"""Patient, because a boot loader's TCP stands still between two calls of the firmware."""
LINGER_SECONDS: Final = 10.0
"""How long a target stays open after its last session: loader and operating system find the same disk."""
CLOSE_SECONDS: Final = 5.0
"""How long we wait for a dropped session's I/O before going on without it."""
TASK_MANAGEMENT_SECONDS: Final = 8.0
"""How long a task management function waits for I/O to end; then it is answered "function rejected"."""
DRAIN_SECONDS: Final = 1.0
"""How long we then wait for a reactor to say that nothing of it can reach a disk."""
CONTROL_THREADS: Final = 16
"""Threads of the control plane that may sleep: opening disks, rare commands, flushes."""
CONTROL_THREADS_MAX: Final = 1024
"""Of these, how many there may be while disks hang: about as many as STORAGE_THREADS_MAX, for the same disks."""
CONTROL_PATIENCE_SECONDS: Final = 0.1
"""Work of the control plane waits so long for a thread before one more is started: longer than a disk takes to open."""
CONTROL_IDLE_SECONDS: Final = 30.0
"""A thread of the control plane that was started while disks hung ends after so long without work."""
SESSION_THREADS_MAX: Final = 4
"""Of these, how many the long commands of one session may hold: VERIFY of a whole disk takes minutes."""
STOP_THREADS_MAX: Final = 1024
"""Threads that flush and close disks when the server stops, one for each: a disk that hangs holds up no other."""
SHUTDOWN_SECONDS: Final = 1.0
"""How long clients get to log out when the server stops, unless the settings say otherwise."""
SHUTDOWN_FLUSH_SECONDS: Final = 1.0
"""How long disks get after that to be flushed and closed, unless the settings say otherwise."""
DRAIN_RETURN_SECONDS: Final = 3600.0
"""While the server drains, a machine without a session for so long counts as shut down: Linux waits 600 s."""
INHIBIT_SECONDS: Final = 2.0
"""How often the daemon looks whether nodes run, to keep the system from shutting down."""
NODES_NAMED_MAX: Final = 10
"""Nodes that a sentence names; the others are counted."""
SILENCE_LOOK_SECONDS: Final = 2.0
"""How often the server looks whether a node has been silent for the set time."""
SILENT_NODE_MINUTES: Final = 5.0
"""How long a node is silent until that is told, unless the settings say otherwise."""
SILENT_KEPT_SECONDS: Final = 86_400
"""A node that is silent for longer is one that was switched off, and told of no more."""
POWER_CYCLE_PERIOD_SECONDS: Final = 3600
"""The time in which power cycles of one node are counted."""
STOP_POLL_SECONDS: Final = 0.1
"""How often a command looks whether the daemon has ended or the nodes have left."""
LAST_WORDS_SECONDS: Final = 0.1
"""How long a process that ends without a part of it waits for its log to take that."""

# --- hand-over to another process ---------------------------------------------------------------------------
HANDOVER_START_SECONDS: Final = 60
"""How long a successor may take to start and get ready; nothing stands still meanwhile."""
HANDOVER_LOGINS_SECONDS: Final = 3.0
"""How long logins under way may take to become sessions; then they are dropped, and their initiators try again."""
HANDOVER_FLUSH_SECONDS: Final = 15.0
"""How long disks may take to be flushed before anything stands still; one that takes longer hangs."""
HANDOVER_STILL_SECONDS: Final = 2.0
"""How long commands under way may take to end while nothing new begins."""
HANDOVER_LOOK_SECONDS: Final = 0.005
"""How often the end of commands in Python is looked for meanwhile."""
HANDOVER_CLOSE_SECONDS: Final = 2.0
"""How long flushed disks may take to be closed."""
HANDOVER_TAKE_SECONDS: Final = 8.0
"""How long a successor may take to open all disks and take the sessions up: an initiator waits 30 s for a command."""
HANDOVER_ANSWER_SECONDS: Final = 5.0
"""How long a process may take for one packet, and to end."""
HANDOVER_BYTES_MAX: Final = 4 << 30
"""The state of a server: write buffers and unsent bytes of all reactors fit in."""
HANDOVER_SWITCH_SECONDS: Final = 0.0005
"""How long a thread of Python may keep the others waiting while a successor opens disks: each opening is a few short
steps on several threads, and the interpreter's own 5 ms for each would add up."""
HANDOVER_PACKET_BYTES: Final = 65536
"""One packet between the processes, without the state, which lies in a memory file."""
HANDOVER_DESCRIPTORS_MAX: Final = 250
"""Descriptors that come with one packet; the kernel takes 253 (SCM_MAX_FD)."""
HANDOVER_SECONDS_MAX: Final = 180
"""How long the command waits for a hand-over: longer than all of it may take."""

# --- relations ------------------------------------------------------------------------------------------------
RELATIONS: Final = (
    ("a CmdSN modulo the window goes on over 2^32", COMMAND_WINDOW & (COMMAND_WINDOW - 1) == 0),
    ("the window is whole words of 64 bits", COMMAND_WINDOW >= 64),
    ("a LUN of single-level addressing has 14 bits", LUNS_MAX <= 1 << 14),
    ("a granule is whole sectors", GRANULE_BYTES % SECTOR_BYTES == 0),
    ("the longest Data-In is whole sectors", EMIT_BYTES_MAX % SECTOR_BYTES == 0),
    ("a disk's end is no more than 63 bits away", IMAGE_BYTES_MAX < 1 << 63),
    ("each fetch of a golden image may fill a slot while others are read", CACHE_SLOTS_MIN > LANE_JOBS_MAX),
    ("one disk does not hold all the threads that stay up", LANE_JOBS_MAX <= STORAGE_THREADS),
    ("threads are left for other disks while 255 hang", LANE_JOBS_MAX * 256 <= STORAGE_THREADS_MAX),
    ("threads are left for other plugins while 15 hang", LANE_JOBS_MAX * 16 <= PYTHON_THREADS_MAX),
    ("what a login has received behind it is one receive", LOGIN_RECEIVE_BYTES <= RECEIVE_BYTES),
    ("a login's text comes in PDUs that are declared", LOGIN_DATA_SEGMENT_BYTES_MAX <= DATA_SEGMENT_BYTES_MAX),
    ("a line that is remembered is shorter than any bound", TEXT_LINE_KEPT_BYTES_MAX < TEXT_VALUE_BYTES_MAX),
    ("a long text ends by its own bound, not by that of its PDUs", TEXT_BYTES_MAX <= REQUEST_BYTES_MAX),
    ("a request is a PDU that is declared", REQUEST_BYTES_MAX <= DATA_SEGMENT_BYTES_MAX),
    ("a PDU that has a sink is one that is declared", SINK_BYTES_MIN <= DATA_SEGMENT_BYTES_MAX),
    ("what stalls fits where the longest PDU is collected", STALLED_BYTES_MAX <= DATA_SEGMENT_BYTES_MAX),
    ("a plan fits into a batch", PLAN_RUNS_MAX + 4 <= BATCH_IOVEC_RESERVE < BATCH_IOVECS),
    ("a prebuilt answer fits into a batch", PREBUILT_ANSWER_BYTES_MAX + 1024 <= BATCH_CONTROL_RESERVE_BYTES),
    ("the reserve for headers is part of their room", BATCH_CONTROL_RESERVE_BYTES < BATCH_CONTROL_BYTES),
    ("a Data-In fits into a batch", EMIT_BYTES_MAX + SECTOR_BYTES <= BATCH_DATA_RESERVE_BYTES < BATCH_DATA_BYTES),
    ("an echoed NOP-Out fits into a batch", DATA_SEGMENT_BYTES_MAX + 8 <= BATCH_DATA_RESERVE_BYTES),
    ("a batch is not longer than one service", BATCH_BYTES_MAX <= SERVICE_BYTES_MAX),
    ("sense data and its length have one byte each", SENSE_BYTES_MAX <= 252),
    ("a write that is stored at once is one chunk", WRITE_INLINE_BYTES_MAX <= WRITE_CHUNK_BYTES_MAX),
    ("a chunk is a burst that 24 bits can ask for", WRITE_CHUNK_BYTES_MAX < 1 << 24),
    ("one write finds a buffer", max(WRITE_CHUNK_BYTES_MAX, FIRST_BURST_BYTES_MAX) <= WRITE_BUFFER_BYTES_MAX),
    ("one parameter list finds a buffer", PARAMETER_BYTES_MAX <= WRITE_BUFFER_BYTES_MAX),
    ("a buffer is a power of two", WRITE_BUFFER_BYTES_MIN & (WRITE_BUFFER_BYTES_MIN - 1) == 0),
    ("a chunk's buffer can be kept", WRITE_CHUNK_BYTES_MAX <= FREE_BUFFER_BYTES_MAX <= WRITE_BUFFER_BYTES_MAX),
    ("a task's index has 20 bits of its tag", TASKS_MAX == 1 << 20),
    ("a ping is answered before silence counts", PING_SECONDS < SILENCE_SECONDS),
    ("a tick is a second at most", TICK_MILLISECONDS <= 1000),
    ("Linux sees two signs of a write that waits before it asks for one", 2 * SPACE_REMINDER_MS < 30_000),
    ("a disk that is tried again is not forgotten", SPACE_RETRY_MS + 2 * TICK_MILLISECONDS < FULL_FORGOTTEN_MS),
    ("a parameter list is Data-Out of the slow path", PARAMETER_LIST_BYTES_MAX <= PARAMETER_BYTES_MAX),
    (
        "the longest transfer that VPD B0 promises is Data-Out of the slow path",
        TRANSFER_BYTES_MAX <= PARAMETER_BYTES_MAX,
    ),
    (
        "what a session takes for its longest command it leaves to others",
        2 * PARAMETER_BYTES_MAX <= WRITE_BUFFER_BYTES_MAX,
    ),
    ("an atomic write is Data-Out of the slow path", ATOMIC_BYTES_MAX <= PARAMETER_BYTES_MAX),
    ("COMPARE AND WRITE is, with blocks of 4096 bytes", 2 * COMPARE_AND_WRITE_BLOCKS_MAX * 4096 <= PARAMETER_BYTES_MAX),
    (
        "the name of an initiator port fits into a TransportID",
        ISCSI_NAME_BYTES_MAX + 18 + 3 <= TRANSPORT_ID_NAME_BYTES_MAX,
    ),
    ("an answer of many descriptors needs as many looks", LBA_STATUS_DESCRIPTORS_MAX <= LBA_STATUS_LOOKUPS_MAX),
    ("the descriptors of UNMAP fit into its list", 8 + 16 * UNMAP_DESCRIPTORS_MAX <= PARAMETER_LIST_BYTES_MAX),
    ("an optimal copy is one that is allowed", ROD_BYTES_OPTIMAL <= ROD_BYTES_MAX),
    ("a token's times rise", ROD_INACTIVITY_SECONDS <= ROD_INACTIVITY_SECONDS_MAX <= ROD_LIFETIME_SECONDS_MAX),
    ("a TSIH has 16 bits and is not 0", SESSIONS_MAX < 1 << 16),
    ("one address does not take all logins", LOGINS_PER_ADDRESS_MAX < LOGINS_MAX),
    (
        "a hand-over that fails at last is shorter than an initiator's patience",
        HANDOVER_STILL_SECONDS + HANDOVER_CLOSE_SECONDS + HANDOVER_TAKE_SECONDS + 2 * HANDOVER_ANSWER_SECONDS < 30,
    ),
    (
        "the command waits for the end of a hand-over",
        2 * HANDOVER_START_SECONDS + 4 * HANDOVER_LOGINS_SECONDS + HANDOVER_FLUSH_SECONDS + 25 <= HANDOVER_SECONDS_MAX,
    ),
    ("a delay never falls below its step", LOGIN_DELAY_SECONDS_STEP <= LOGIN_DELAY_SECONDS_MAX),
    ("a server ends within two seconds", SHUTDOWN_SECONDS + SHUTDOWN_FLUSH_SECONDS <= 2),
    ("a session leaves threads to the others", SESSION_THREADS_MAX < CONTROL_THREADS),
    ("disks that hang leave threads to the others", CONTROL_THREADS < CONTROL_THREADS_MAX),
    ("node, image and version are one file name", NODE_NAME_CHARACTERS_MAX + IMAGE_NAME_CHARACTERS_MAX + 64 <= 255),
    ("a secret's bounds rise", CHAP_SECRET_BYTES_MIN <= CHAP_SECRET_BYTES_MAX),
    ("a step of hashing is whole chunks", READ_CHUNK_BYTES % HASH_CHUNK_BYTES == 0),
    ("each thread that hashes has a step of its own", HASH_THREADS <= HASH_SPANS_WAITING),
    ("a change may open what it makes", OVERLAYS_TOGETHER_MAX + 64 <= SPARE_DESCRIPTORS),
    ("a look into golden files ends before the next one", WATCH_PATIENCE_SECONDS < WATCH_SECONDS),
    ("a verification tells its progress before it counts as stalled", VERIFY_TELL_SECONDS < VERIFY_STALL_SECONDS),
    ("a failed name is asked for again before a known one", DNS_FAILED_SECONDS <= DNS_KEPT_SECONDS),
)
"""What must be true of bounds that depend on each other, each as a sentence and whether it is so."""

for _sentence, _holds in RELATIONS:
    if not _holds:
        raise AssertionError(f"limits.py: it is not so that {_sentence}")
