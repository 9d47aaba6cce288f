"""Domains from folders of pictures: trained, looked at while they learn, reported, balanced, packed."""
