"""Networks of others that see photos for image scores, one family a file."""
