"""Tools: they look at a cell or at the whole benchmark and make no artefact of it."""
