"""Many runs: job files, a ledger of what became of each, engines that work on them, and folders of runs."""
