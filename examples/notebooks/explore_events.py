# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The events, as the engine counts them
#
# `make demo` puts 69,659 real purchases into a lake. This notebook reads it, and changes nothing in it.
# `TINYCDP_LAKE_URI` names another lake.

# %%
import json
import os
from pathlib import Path

import altair as alt
import polars as pl
import tinycdp

alt.renderers.enable("svg")  # charts are drawn here: nothing is loaded from another host
cdp = tinycdp.lake(os.environ.get("TINYCDP_LAKE_URI", "../../.tinycdp/lake"))
cdp.uri, cdp.version, cdp.time_zone

# %% [markdown]
# `cdp.events` is a lazy frame of Polars. It has each event that counts once, with its person: repeats are left out,
# linked ids are one person, and nobody who was deleted is in it.

# %%
cdp.events.group_by("kind", "name").agg(pl.len().alias("events"), pl.col("person").n_unique().alias("people")).sort(
    "events", descending=True
).collect()

# %% [markdown]
# The demo's visitors bought something, too. The customers of the data set have ids that begin with `c`.

# %%
purchases = (
    cdp.events.filter(pl.col("name") == "purchase", pl.col("person").str.starts_with("user:c"))
    .select("person", "ts", cdp.event_property("amount"))
    .collect()
)
cents = (purchases["amount"] * 100).round().cast(pl.Int64)

facts = json.loads(Path("../cdnow/facts.json").read_text())  # counted without TinyCDP
assert len(purchases) == facts["events"]
assert purchases["person"].n_unique() == facts["users"]
assert cents.sum() == facts["total_amount_cents"]
purchases.describe()

# %% [markdown]
# Most customers came in the first three months, and many never again.

# %%
by_month = (
    purchases.sort("ts")
    .with_columns(is_first=pl.col("person").is_first_distinct())
    .group_by(pl.col("ts").dt.truncate("1mo").alias("month"), "is_first")
    .agg(pl.len().alias("purchases"))
    .with_columns(purchase=pl.when("is_first").then(pl.lit("the first")).otherwise(pl.lit("a later one")))
)
alt.Chart(by_month, title="Purchases a month").mark_bar().encode(
    alt.X("yearmonth(month):T", title=None),
    alt.Y("sum(purchases):Q", title="purchases"),
    alt.Color("purchase:N", title=None),
)

# %% [markdown]
# A few customers bring much of the money.

# %%
spent = purchases.group_by("person").agg(pl.col("amount").sum().alias("spent")).sort("spent", descending=True)
share = spent.select(
    customers=pl.int_range(1, pl.len() + 1) / pl.len() * 100,
    money=pl.col("spent").cum_sum() / pl.col("spent").sum() * 100,
)
best_tenth = share.filter(pl.col("customers") <= 10)["money"].max()
assert 40 < best_tenth < 60

alt.Chart(share.gather_every(100), title=f"The best tenth spends {best_tenth:.0f} % of it").mark_line().encode(
    alt.X("customers:Q", title="% of the customers, who spent most first"), alt.Y("money:Q", title="% of the money")
)

# %% [markdown]
# One person, from the first event to the last.

# %%
customer, orders, cents_spent = facts["top_users_by_count"][0]
theirs = purchases.filter(pl.col("person") == f"user:{customer}").sort("ts")
assert len(theirs) == orders

alt.Chart(theirs, title=f"What {customer} spent").mark_circle().encode(
    alt.X("ts:T", title=None), alt.Y("amount:Q", title="US dollars")
)
