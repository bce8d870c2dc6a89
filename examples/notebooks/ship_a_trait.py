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
# # A trait, from an idea to a decision
#
# Whom should an offer win back? Somebody who bought often and has been quiet for a while. For how long? The past tells.
# This notebook needs the stack that `make demo` leaves running: its address and its admin key are in the environment as
# `TINYCDP_URL` and `TINYCDP_ADMIN_KEY`.

# %%
import os
import time
from datetime import timedelta

import altair as alt
import polars as pl
import tinycdp

alt.renderers.enable("svg")  # charts are drawn here: nothing is loaded from another host
lake = os.environ.get("TINYCDP_LAKE_URI", "../../.tinycdp/lake")
cdp = tinycdp.lake(lake)

# %% [markdown]
# ## Try
#
# Nobody has saved these rules. Each is asked at three instants of the past, all in one pass over the events. Whether
# the people came back is asked 90 days after each, in the same words.

# %%
quiet = [30, 60, 90, 120]
rules = {f"quiet_{days}": f"events.purchase.count >= 3 && last_seen_days_ago >= {days}" for days in quiet}
last = cdp.events.filter(pl.col("person").str.starts_with("user:c")).select(pl.col("ts").max()).collect().item()
instants = [last - timedelta(days=days) for days in (270, 180, 90)]

then = cdp.traits([], at=instants, extra=rules).frame
later = cdp.traits(
    [], at=[at + timedelta(days=90) for at in instants], extra={"orders": "events.purchase.count_90d"}
).frame

# %%
tried = (
    then.join(later.with_columns(pl.col("at") - pl.duration(days=90)), on=["id", "at"])
    .unpivot(on=list(rules), index=["at", "orders"], variable_name="rule", value_name="is_member")
    .filter("is_member")
    .group_by("at", "rule")
    .agg(pl.len().alias("people"), (pl.col("orders") > 0).mean().alias("came_back"))
    .with_columns(days=pl.col("rule").str.strip_prefix("quiet_").cast(pl.Int64))
    .sort("at", "days")
)
tried

# %%
alt.Chart(tried, title="Who has been quiet for longer comes back less").mark_line(point=True).encode(
    alt.X("days:Q", title="days without an event"),
    alt.Y("came_back:Q", title="came back within 90 days").axis(format="%"),
    alt.Color("yearmonthdate(at):O", title="as of"),
)

# %% [markdown]
# The longer the silence, the fewer come back by themselves, at each of the instants.

# %%
falling = tried.group_by("at", maintain_order=True).agg(pl.col("came_back").diff().drop_nulls().max())
assert (falling["came_back"] < 0).all()

# %% [markdown]
# How many would get the offer, day by day? A segment has a trend also before anybody has saved it.

# %%
rule = "orders >= 3 && last_seen_days_ago >= 90"
unsaved = cdp.segment(rule.replace("orders", "events.purchase.count"))
trend = unsaved.trend(days=60)
alt.Chart(trend.frame, title="People whom the offer would reach").mark_line().encode(
    alt.X("date:T", title=None), alt.Y("members:Q").scale(zero=False)
)

# %% [markdown]
# ## Ship
#
# What was tried is saved in the same words. Where it is saved already, by an earlier run, it is changed to these words.
# From the next rebuild on, decisions read it.

# %%
with tinycdp.Admin() as admin:
    for create, change, key, text in (
        (admin.create_trait, admin.change_trait, "orders", "events.purchase.count"),
        (admin.create_segment, admin.change_segment, "quiet_customers", rule),
        (admin.create_flag, admin.change_flag, "come_back", 'segment("quiet_customers")'),
    ):
        try:
            create(key, text, note="for the offer that wins people back")
        except tinycdp.Conflict:
            change(key, text, note="for the offer that wins people back")
    until = time.monotonic() + 120
    while admin.traits("c14048")["warming"]:
        if time.monotonic() > until:
            raise TimeoutError("no rebuild has read the new definitions for two minutes: `tinycdp doctor` says why")
        time.sleep(0.2)

# %% [markdown]
# ## Look
#
# The stack answers what the lake says. (So does `tinycdp doctor`, of a sample, at any time.)

# %%
cdp = tinycdp.lake(lake)  # opened again, it knows the new definitions
members = cdp.segment("quiet_customers").members()["id"]
assert members.to_list() == unsaved.members(at=cdp.now)["id"].to_list()

with tinycdp.Admin() as admin:
    for person in ["user:c14048", *members.head(3)]:
        live = admin.traits(person.removeprefix("user:"))
        assert live["segments"]["quiet_customers"] == (person in members), person
len(members)
