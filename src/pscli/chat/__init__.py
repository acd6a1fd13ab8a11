"""The talk of `pscli chat`: what is typed, what it does, and how it looks in a terminal."""
