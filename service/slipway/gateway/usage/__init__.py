"""Usage: one record a request, through a journal that outlives the process into SQL, and reports of it."""
