"""UnboundedQueue, under the private path that Trio has it at."""

from .._native import (
    UnboundedQueue as UnboundedQueue,
    UnboundedQueueStatistics as UnboundedQueueStatistics,
)
