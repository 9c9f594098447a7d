"""Settings of history. Each field says what a change costs."""

import msgspec


class HistorySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times in milliseconds, sizes in bytes."""

    # Folded executions in memory, each of about three times its history's size without its large
    # payloads. More: fewer reads.
    cache_executions_max: int = 10_000
    cache_bytes_max: int = 256 * 1_024 * 1_024
    # Payloads of up to a mebibyte in memory beside these. More: fewer reads on replays.
    cache_payload_bytes_max: int = 64 * 1_024 * 1_024
    # How long a node that restarted, or had paused, waits for workers to claim what they run before
    # it offers it to others; each claim prolongs it. Longer: slower recovery of work whose worker
    # died too. Shorter: work runs twice.
    claim_wait_ms: int = 2_000
    # The same after the stream of one worker broke.
    reconnect_wait_ms: int = 1_000
    # A node that has not renewed its lease for this long may be replaced by another.
    lease_ms: int = 10_000
    # Timers due within this time are in memory; later ones only cost a row.
    timer_horizon_ms: int = 60_000
    # Pages of operations sent with an invocation. Larger pages: fewer round trips, larger messages.
    state_page_operations: int = 1_000
    state_page_bytes: int = 4 * 1_024 * 1_024
    # Executions that retention deletes in one transaction, and in another the records and payloads
    # of deleted executions. More: fewer transactions, but commits wait longer for one of them.
    sweep_executions_max: int = 100
    sweep_rows_max: int = 200
    # An invocation that its worker does not list this long after it was handed out is lost.
    handout_wait_ms: int = 10_000
    # An invocation of an unknown worker is lost after this long without a checkpoint.
    silence_ms_max: int = 30_000
