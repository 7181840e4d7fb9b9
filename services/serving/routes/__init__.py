"""The endpoints, one file per resource. A route turns HTTP into one call of the back end and back."""
