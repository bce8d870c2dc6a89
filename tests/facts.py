"""What is known of the real purchases in `examples/cdnow`, counted without us, and how a user asks for it."""

from __future__ import annotations

import json
from pathlib import Path

CDNOW = Path(__file__).parents[1] / "examples" / "cdnow"
FACTS = json.loads((CDNOW / "facts.json").read_text())

#: Each count of users among the facts, as a segment's rule.
COUNTED = {
    "users_lifetime_count_ge_10": "events.purchase.count >= 10",
    "users_lifetime_amount_ge_500": "events.purchase.amount.sum >= 500",
    "users_last_seen_days_ago_lt_60": "last_seen_days_ago < 60",
    "users_max_amount_ge_200": "events.purchase.amount.max >= 200",
} | {
    f"users_{fact}": f"events.purchase.{measure}_{window} >= {least}"
    for window in ("30d", "90d", "365d")
    for fact, measure, least in (
        (f"with_purchase_{window}", "count", 1),
        (f"count_{window}_ge_2", "count", 2),
        (f"count_{window}_ge_5", "count", 5),
        (f"amount_sum_{window}_ge_100", "amount.sum", 100),
    )
}
