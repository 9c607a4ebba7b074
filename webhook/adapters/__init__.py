"""The only importers of kubernetes, urllib3 and cryptography; they translate errors once."""
