"""What happens to stores under violence: the same experiments on platestore and on other libraries."""
