"""From sources to a version of a dataset: read, clean, filter, deduplicate, split, write.

reading   sources, chunks, reading, formats    what lies at an address, as records with their places
cleaning  steps                                pure functions over records
leaks     fingerprints, duplicates, splits     what is the same, over all sources, and who gets it
writing   shards, versions                     Parquet files and the manifest
together  chunkwork, executors, pipeline, stage
"""
