"""What is in a version of a dataset: counted, pictured, and what speaks against training on it.

counting, tokenizing       counts in memory that stays the same; words, characters, sub-words
statistics, warnings       one pass over a version; what is wrong with it
pictures, distributions    the report's pictures and sections
report                     the page beside the version's files
"""
