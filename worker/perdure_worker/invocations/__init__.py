"""The invocations that a worker runs, from their arrival to the end that it reports."""
