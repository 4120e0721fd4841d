"""What people say about answers, kept with the request's id."""
