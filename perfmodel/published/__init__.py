"""Measurements that others published, predicted row by row, and how far off the predictions are.

CSV ──rows──► Row ──names, questions──► Question ──predictions──► Prediction ──scores──► errors by group ──► page
                                                        ▲
                          loaded: requests that come and go;  peak: memory as the driver tells it
"""
