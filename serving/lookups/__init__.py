"""Work on the lake that takes seconds and so runs in processes beside the API: questions, whose answer a call waits
for (`worker` runs them), and exports, which write a file (`export_runs` names it and starts `export_job`, which writes
it). May import the engine and the rooms below it; `serving.api` imports it.
"""
