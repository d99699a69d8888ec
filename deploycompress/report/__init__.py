"""What people read: progress while it runs, the summary when it is done."""
