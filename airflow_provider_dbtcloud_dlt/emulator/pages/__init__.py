"""The pages for people.

routes  the addresses            filters  what the list of runs accepts
views   records → what is shown  results  what a run_results.json says
"""
