"""The endpoint that the AWS SDK of a hosted handler takes for the Lambda API."""
