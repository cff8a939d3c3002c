"""Measurements of our own, as they are kept, and predictions held against them.

results file ──results──► Results ──scores──► errors by group ──report──► text, JSON, CSV
                             └───────figures──► plots ──page──► one HTML file
"""
