"""One module per row, one with a leading underscore per library that serves several rows."""
