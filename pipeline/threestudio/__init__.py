"""threestudio: slipcast's guidance as a plug-in of it, and its configurations read as runs of ours."""
