"""Which Lambda handlers a worker hosts: the functions file, SAM templates, variables."""
