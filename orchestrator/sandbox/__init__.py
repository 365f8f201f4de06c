"""A complete local MindVideo API: same requests, same answers, no money.

It imports nothing else of this project, so that what it says of the project can be believed.
"""
