"""Results: one tidy table of numbers, the record of the run they come from, and the published numbers beside them.

A tidy table has one line a number, with the columns ``COLUMNS``. ``row`` and ``column`` are the labels of the paper's
table (``published``); rows and columns of our own, baselines for instance, may be added freely.
"""

from motionkit.results.papers import printed_decimals, published, published_notes
from motionkit.results.pooling import compare, pivot
from motionkit.results.record import RunRecord, code_version, describe_device, run_id, start_record
from motionkit.results.rows import (
    COLUMNS,
    RECORD_FILE,
    RESULTS_FILE,
    RUN_COLUMNS,
    load_record,
    load_results,
    mean_and_interval,
    result_row,
    results_table,
    save_results,
)
from motionkit.results.selection import runs_table, select

__all__ = [
    "COLUMNS",
    "RECORD_FILE",
    "RESULTS_FILE",
    "RUN_COLUMNS",
    "RunRecord",
    "code_version",
    "compare",
    "describe_device",
    "load_record",
    "load_results",
    "mean_and_interval",
    "pivot",
    "printed_decimals",
    "published",
    "published_notes",
    "result_row",
    "results_table",
    "run_id",
    "runs_table",
    "save_results",
    "select",
    "start_record",
]
