"""Virtual models that ask several models for one request, and make one answer of theirs."""
