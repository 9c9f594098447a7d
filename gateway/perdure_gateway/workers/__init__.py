"""Connected workers: who is here, what each may take, what they send."""
