"""`pscli serve`: agents on a page, and for other programs by OpenAI's chat completions.

Nothing here is written to disk, no file is served but the page's own, and no address is asked for.
"""
