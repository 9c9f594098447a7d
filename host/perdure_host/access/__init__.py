"""Who calls: tokens and their roles, the names of ports, and the audit log."""
