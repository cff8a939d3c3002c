"""Answers as pages: figures, one template, one theme, one script. It draws what answers say, and computes nothing.

    answer ─► one module a kind of answer ─► Page ─► page.html ─► one file that asks nothing of a network

A further kind of answer is one module that returns a `Page`, and its row in `perfmodel.report.pages`.
"""
