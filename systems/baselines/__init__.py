"""The methods that paper 1 is compared with, trained by the one loop on the same pictures."""
