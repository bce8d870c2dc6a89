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
# # A segment's SQL, run in DuckDB
#
# A definition is one SELECT over the events table, in the dialect of the engine that has your history. Here it runs in
# DuckDB, over the lake's own files.

# %%
import os

import altair as alt
import duckdb
import tinycdp
from deltalake import DeltaTable

alt.renderers.enable("svg")  # charts are drawn here: nothing is loaded from another host
cdp = tinycdp.lake(os.environ.get("TINYCDP_LAKE_URI", "../../.tinycdp/lake"))
segment = cdp.segment("big_spenders")
sql = segment.sql(dialect="duckdb", at=cdp.now)
print(sql[:400], "…")

# %%
connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")
connection.register("events", DeltaTable(f"{cdp.uri}/events", version=cdp.version).to_pyarrow_dataset())
people = connection.sql(sql).pl()
people.head()

# %% [markdown]
# The same people as the engine's, one by one.

# %%
by_sql = people.filter("boolean").select("id").sort("id")
assert by_sql["id"].to_list() == segment.members(at=cdp.now)["id"].to_list()
len(by_sql)

# %% [markdown]
# What the query gives can be joined with all that is there. How much of the money is theirs, month by month? (The table
# has each event as it came, under the id that sent it. `cdp.events` has those that count, with their person.)

# %%
connection.register("members", by_sql)
spent = connection.sql("""
    SELECT date_trunc('month', make_timestamp(ts * 1000)) AS month,
           id IN (SELECT id FROM members) AS big_spender,
           sum(props['amount'].number) AS dollars
    FROM events WHERE name = 'purchase' GROUP BY ALL ORDER BY ALL
""").pl()
alt.Chart(spent, title="Dollars a month").mark_area().encode(
    alt.X("month:T", title=None),
    alt.Y("dollars:Q", title=None),
    alt.Color("big_spender:N", title="a big spender"),
)

# %% [markdown]
# Snowflake and BigQuery get the same definition in their own words (`docs/sql.md` says what they read).

# %%
for dialect in ("snowflake", "bigquery"):
    print(dialect, len(segment.sql(dialect=dialect)), "characters")
