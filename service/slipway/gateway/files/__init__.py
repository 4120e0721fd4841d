"""Files that clients upload and batches write: in the database, in pieces, so every gateway has them."""
