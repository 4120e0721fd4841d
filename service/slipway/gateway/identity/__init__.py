"""Who may do what: keys and owners in the database, sign-in by OpenID Connect, delegation, the audit log."""
